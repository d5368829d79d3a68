"""The contest: Mquans against its rivals, under rules that are fixed in a file before a run."""
