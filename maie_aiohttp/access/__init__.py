"""Who may come in, and whose an upload is."""
