"""Programs outside the servers' processes that send files and say how long it took."""
