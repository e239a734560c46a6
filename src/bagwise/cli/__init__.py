"""The command `bagwise`."""

import lazy_loader

# Little is loaded before `main` runs, which knows what to do when it is stopped while the rest loads.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
