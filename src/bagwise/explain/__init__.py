"""Which instances decided: weights, key instances, the features that set them apart, and maps."""

import lazy_loader

# Training reports need no maps, and what draws these takes a while to import.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
