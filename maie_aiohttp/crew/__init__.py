"""Several processes on one port: one that starts the others again, and what they share."""
