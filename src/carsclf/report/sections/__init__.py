"""One module per question, in the study's order; each returns a Section."""
