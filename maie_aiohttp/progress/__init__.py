"""What happens to an upload, told to those who watch."""
