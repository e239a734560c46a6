from ._version import __version__ as __version__
from .bags import Bag as Bag
from .bags import Bags as Bags
from .errors import BagwiseError as BagwiseError
