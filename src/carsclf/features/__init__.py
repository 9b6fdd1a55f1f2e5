"""Outputs of a frozen prefix: computed once per photo, kept, and trained on."""
