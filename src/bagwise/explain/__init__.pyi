from .features import contrast as contrast
from .geojson import write_geojson as write_geojson
from .instances import Explanation as Explanation
from .instances import explain as explain
from .instances import key_instances as key_instances
from .instances import rescaled_in_bags as rescaled_in_bags
from .maps import draw_map as draw_map
from .tables import write_table as write_table
