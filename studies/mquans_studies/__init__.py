"""Studies of the literature: accelerators, traces, its networks, fine-tuning, methods compared."""
