"""What every method returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffusionblend.data.volume import Volume


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """A reconstructed volume in HU with what it cost.

    relative_residual: |Ax - y| / |y|. network_evaluations: passes of the whole volume
    through the network. seconds: of each part and in total. data_consistency: of a method that
    solves for the data at every step, the solver, the values of rho that it had, and what counts of
    the variance of a ray that counts fully, in squared pixels of water.
    """

    volume: Volume
    relative_residual: float
    network_evaluations: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    data_consistency: dict[str, object] = field(default_factory=dict)

    @property
    def network_share(self) -> float:
        """The network's share of the run time, 0 to 1."""
        return self.seconds.get("network", 0.0) / max(self.seconds.get("total", 0.0), 1e-9)

    def __repr__(self) -> str:
        told = [repr(self.volume), f"relative residual {self.relative_residual:.3g}"]
        if self.network_evaluations:
            told.append(f"{self.network_evaluations} network evaluations")
        if "total" in self.seconds:
            told.append(f"{self.seconds['total']:.3g} s")
        return f"Reconstruction({', '.join(told)})"


@dataclass(frozen=True)
class Ensemble:
    """Several samples of one scan: mean and standard deviation (n - 1) of every voxel, in HU.

    samples: the volumes themselves, where they were kept. std: the same as standard_deviation.
    """

    mean: Volume
    standard_deviation: Volume
    samples: tuple[Volume, ...] = ()

    @property
    def std(self) -> Volume:
        """The standard deviation of every voxel (n - 1), in HU, by NumPy's name."""
        return self.standard_deviation
