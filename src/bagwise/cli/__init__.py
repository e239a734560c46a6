"""The command `bagwise`."""

from bagwise.cli.entry import app, main

__all__ = ["app", "main"]
