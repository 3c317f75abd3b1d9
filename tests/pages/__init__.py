"""Tests of what can be looked at."""
