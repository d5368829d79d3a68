"""The online half: graph and plan become a native program; sessions, streams, saved state."""
