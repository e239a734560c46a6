"""Bagwise: multiple instance learning that shows which instances decided."""

from bagwise.lazily import lazily

# Names are imported when first used, so that `import bagwise` and `bagwise --help` cost next to nothing.
__getattr__, __dir__, __all__ = lazily(__name__, __file__)
