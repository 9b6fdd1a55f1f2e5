"""Numbers from arrays and tables; no torch, no Lightning, no Ray."""
