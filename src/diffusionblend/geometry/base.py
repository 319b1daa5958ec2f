"""What every acquisition geometry answers for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.geometry.vectors import VectorGeometry


class Geometry(ABC):
    """Where source and detector are in every view; lengths in mm from the centre of the volume."""

    couples_slices: ClassVar[bool]
    n_bins: int

    @property
    @abstractmethod
    def n_views(self) -> int:
        """Number of views."""

    @abstractmethod
    def detector_rows(self, grid: Grid) -> int:
        """Rows of the projections of a grid."""

    @abstractmethod
    def to_vectors(self) -> VectorGeometry:
        """The same rays as sources and panels, view by view; raises InputError if none."""
