"""Watchers that write what happens in a run to its run directory."""
