"""From a graph and a plan to a native program."""
