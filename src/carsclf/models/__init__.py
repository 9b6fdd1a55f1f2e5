"""Networks, their weights, where they can be cut, and their files."""
