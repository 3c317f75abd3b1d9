"""What takes long or needs a server of its own: memory, crowds, kills and shutdowns. Each `run` returns a `Report`."""
