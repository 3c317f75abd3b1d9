"""The story of an upload, whichever door it came through: whole or in pieces, examined, settled, recorded."""
