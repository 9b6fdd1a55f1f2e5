"""Searches: searcher and scheduler as one choice, so that a wrong pair cannot be written down."""
