"""One page about a deployed model, made from its prediction log."""
