"""Clients as they are published, unmodified, against the server: what they send is stored, and stored right."""
