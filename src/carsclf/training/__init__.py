"""LightningModules, schedules, checkpoints and the straight line through one training."""
