"""Tables in, pictures out; no torch, no Lightning, no Ray."""
