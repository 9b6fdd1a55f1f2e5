"""What to clean in a data set: findings, each with its reason; nothing here removes a photo."""
