"""What a clip asks of layers that compare single values, as data for accelerators."""
