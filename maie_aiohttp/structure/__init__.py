"""What the first bytes of a file prove about it: one module per family of audio formats.

Each family has a pure `probe(head, complete) -> Evidence`. It reads the structure its specification demands, not a
magic number: junk behind a magic number is what these checks exist to refuse. The work is bounded for any bytes.
"""
