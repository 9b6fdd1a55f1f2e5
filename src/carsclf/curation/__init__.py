"""What to clean in a growing library, and what was decided; only decisions move photos."""
