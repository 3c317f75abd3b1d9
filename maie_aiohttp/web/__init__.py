"""What every door and page needs of HTTP: the server itself, who may call, problems, headers, addresses of uploads."""
