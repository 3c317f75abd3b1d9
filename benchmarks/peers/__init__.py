"""The servers to compare with, each in one small file. All of them put the bytes in a file with a UUID for a name."""
