"""A trained model over HTTP, and the log of what it said."""
