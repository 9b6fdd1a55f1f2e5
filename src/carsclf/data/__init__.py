"""Sources, splits, transforms and the DataModule."""
