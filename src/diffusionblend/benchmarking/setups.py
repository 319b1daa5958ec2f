"""What is measured of a volume: views, arc, geometry and photons of a simulated scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from diffusionblend.errors import InputError
from diffusionblend.methods.validation import (
    AtLeastOne,
    NotNegative,
    Positive,
    Within,
    check_fields,
)
from diffusionblend.simulation import MOST_VIEWS

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.volume import Volume

GeometryName = Literal["parallel", "fan", "cone", "helix"]
HALF_SCAN_DEGREES, FULL_SCAN_DEGREES = 180.0, 360.0
FULL_ARC_DEGREES: dict[str, float] = {
    "parallel": HALF_SCAN_DEGREES,
    "fan": FULL_SCAN_DEGREES,
    "cone": FULL_SCAN_DEGREES,
    "helix": FULL_SCAN_DEGREES,
}
"""The arc that measures every line integral, which is left out of a setup's name."""
NOISE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A simulated scan.

    views: equally spaced over the arc, its end left out; of a helix in each turn. arc_degrees: by
    default 180 of a parallel beam, 360 of others. geometry: a helix has a curved detector and turns
    until all slices are measured. photons: counted in an unattenuated detector pixel, None for
    noiseless projections. electronic_counts: standard deviation of the electronic noise.
    oversample: 1 to simulate with the operator that reconstructs; 2 from pixels half as wide, with
    detector columns of finite width. Raises InputError.
    """

    views: Annotated[int, Within(1, MOST_VIEWS)] = 8
    arc_degrees: Annotated[float | None, Positive] = None
    geometry: GeometryName = "parallel"
    photons: Annotated[float | None, Positive] = None
    electronic_counts: Annotated[float, NotNegative] = 5.0
    oversample: Annotated[int, AtLeastOne] = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.views, int):
            raise InputError(f"views is {self.views!r}.", "a whole number")
        if self.arc_degrees is None:
            object.__setattr__(self, "arc_degrees", FULL_ARC_DEGREES[self.geometry])
        arc = self.arc_degrees or 0.0
        if arc > FULL_SCAN_DEGREES:
            raise InputError(f"An arc of {arc:g} degrees was asked for.", "up to 360 degrees")
        if self.geometry == "helix" and arc != FULL_SCAN_DEGREES:
            raise InputError(
                f"An arc of {arc:g} degrees was asked for of a helix.",
                "none: it turns until all slices are measured",
            )

    @classmethod
    def of_arc(cls, arc_degrees: float, **settings: Any) -> Setup:
        """A limited arc with one view a degree. Raises InputError unless it is below 180."""
        if not 0 < arc_degrees < HALF_SCAN_DEGREES:
            raise InputError(
                f"An arc of {arc_degrees:g} degrees was asked for.",
                "arcs above 0 and below 180 degrees, with one view a degree",
                "[[setup]] with views and arc_degrees in a grid, for other scans",
            )
        return cls(views=max(1, round(arc_degrees)), arc_degrees=arc_degrees, **settings)

    @property
    def name(self) -> str:
        """Such as "8 views", "90 degrees" (one view a degree) or "60 views, fan, 1e5 photons"."""
        arc = float(self.arc_degrees or 0.0)
        if self.geometry == "helix":
            parts = [f"{self.views} views a turn"]
        elif arc == FULL_ARC_DEGREES[self.geometry]:
            parts = [f"{self.views} views"]
        elif self.views == max(1, round(arc)):
            parts = [f"{arc:g} degrees"]
        else:
            parts = [f"{self.views} views over {arc:g} degrees"]
        kinds = {"parallel": [], "helix": ["helix"]}
        parts += kinds.get(self.geometry, [f"{self.geometry} beam"])
        parts += [] if self.photons is None else [f"{self.photons:.3g} photons"]
        parts += [] if self.oversample == 1 else [f"from {self.oversample} x finer pixels"]
        return ", ".join(parts)

    def facts(self) -> dict[str, Any]:
        """All that a result depends on; what came later only where it is not as before."""
        facts = asdict(self)
        if self.oversample == 1:
            del facts["oversample"]
        return facts


def simulated(volume: Volume, setup: Setup) -> Projections:
    """Projections of a volume in HU. Raises InputError.

    volume: with pixels as fine as the setup's oversampling wants.
    """
    from diffusionblend.geometry import ConeBeam, FanBeam, Helix, ParallelBeam
    from diffusionblend.simulation import simulate

    kinds: dict[str, Any] = {"parallel": ParallelBeam, "fan": FanBeam, "cone": ConeBeam}
    k = setup.oversample
    grid = volume.grid if k == 1 else volume.grid.coarser(k)
    if setup.geometry == "helix":
        geometry = Helix.fitting(grid, setup.views, curved=True)
    else:
        geometry = kinds[setup.geometry].fitting(
            grid, views=setup.views, arc_degrees=setup.arc_degrees
        )
    electronic_counts = 0.0 if setup.photons is None else setup.electronic_counts
    return simulate(volume, geometry, setup.photons, electronic_counts, NOISE_SEED, oversample=k)
