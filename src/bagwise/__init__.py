"""Bagwise: multiple instance learning that shows which instances decided."""

import lazy_loader

# Names are imported when first used, so that `import bagwise` and `bagwise --help` cost next to nothing.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
