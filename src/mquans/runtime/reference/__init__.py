"""The network in plain numpy: slow, simple, and what every test leans on."""
