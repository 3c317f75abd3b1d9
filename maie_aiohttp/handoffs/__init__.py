"""Whom stored uploads are handed to."""
