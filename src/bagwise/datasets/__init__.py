"""Data sets by name, and generators that make bags from single images."""

from bagwise.lazily import lazily

# Listing them needs nothing that reads or draws them.
__getattr__, __dir__, __all__ = lazily(__name__, __file__)
