"""The public names of priors."""

from .config import NetworkConfig as NetworkConfig
from .partition import Partition as Partition
from .partition import draw_partitions as draw_partitions
from .partition import make_partition as make_partition
from .partition import neighbour_partition as neighbour_partition
from .partition import offset_count as offset_count
from .partition import slice_partition as slice_partition
from .prior import Prior as Prior
from .prior import load_prior as load_prior
from .prior_types.base import PriorType as PriorType
from .prior_types.places import AxialPlace as AxialPlace
from .prior_types.places import Place as Place
from .prior_types.places import draw_axial_run as draw_axial_run
from .prior_types.registry import PRIOR_TYPES as PRIOR_TYPES
from .resolve import PriorSpec as PriorSpec
from .restorer import Restorer as Restorer
from .schedule import NoiseSchedule as NoiseSchedule
from .store import shipped_priors as shipped_priors
