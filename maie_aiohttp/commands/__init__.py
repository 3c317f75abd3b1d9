"""Commands beside a running server, or without one: keys, tokens and hand-offs."""
