"""Measurements beside other servers."""
