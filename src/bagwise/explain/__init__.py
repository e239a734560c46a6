"""Which instances decided: weights, key instances, the features that set them apart, and maps."""

from bagwise.explain.features import contrast
from bagwise.explain.instances import Explanation, explain, key_instances, rescaled_in_bags
from bagwise.explain.maps import draw_map
from bagwise.explain.tables import write_table

__all__ = ["Explanation", "contrast", "draw_map", "explain", "key_instances", "rescaled_in_bags", "write_table"]
