"""What may be set on a command line: each option's kind and range, and text as it was typed."""
