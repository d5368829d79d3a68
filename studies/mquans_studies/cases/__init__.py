"""Networks and clips that are measured, their plans, and the record of a measurement."""
