"""The public names of priors."""

from .config import NetworkConfig as NetworkConfig
from .prior import Prior as Prior
from .prior import load_prior as load_prior
from .prior_types.base import PriorType as PriorType
from .restorer import Restorer as Restorer
from .schedule import NoiseSchedule as NoiseSchedule
from .store import shipped_priors as shipped_priors
