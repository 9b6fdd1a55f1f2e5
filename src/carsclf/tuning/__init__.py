"""Many trials of the same training: spaces, searches, and the study that runs them."""
