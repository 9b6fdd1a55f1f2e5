"""The machine at hand: devices, precision and memory."""
