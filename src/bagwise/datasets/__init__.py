"""Data sets by name, and generators that make bags from single images."""

import lazy_loader

# Listing them needs nothing that reads or draws them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
