"""`python -m mquans` is the command `mquans`."""

from mquans.cli import main

main()
