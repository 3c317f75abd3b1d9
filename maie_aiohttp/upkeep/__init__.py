"""What is done without being asked: disk and catalog agree again, old uploads end, damage is found."""
