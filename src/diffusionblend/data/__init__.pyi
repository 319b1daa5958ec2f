"""The public names of data."""

from .projections import Projections as Projections
from .raw_scan import RawScan as RawScan
from .result import Ensemble as Ensemble
from .result import Reconstruction as Reconstruction
from .volume import Volume as Volume
from .volume import downsample_in_plane as downsample_in_plane
