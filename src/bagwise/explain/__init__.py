"""Which instances decided: weights, key instances, the features that set them apart, and maps."""

from bagwise.lazily import lazily

# Training reports need no maps, and what draws these takes a while to import.
__getattr__, __dir__, __all__ = lazily(__name__, __file__)
