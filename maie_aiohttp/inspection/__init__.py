"""The verdict on what strangers send: checks of every chunk, libmagic, a decoder that may crash, a scan for malware."""
