"""What a prior type answers for itself; by default as a diffusion prior of blocks of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    import torch

    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior_types.batches import Batch, Draw
    from diffusionblend.priors.prior_types.places import Place
    from diffusionblend.priors.schedule import NoiseSchedule


LOW_NOISE_BELOW = 350
"""Timesteps below this are those of sampling after an initialisation by an image."""


class PriorType:
    """What a network sees and returns, where in a volume its blocks lie, and what it learns.

    A subclass sets `name` and `summary` and defines `draw_place` and `partition`; the rest has
    defaults: all k slices of a block are denoised together. `block_slices` is k as the network's
    settings have it; it may be ignored. Modules of prior types import PyTorch in functions only,
    so that the command line can list them quickly.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    """One line: what the network sees and returns."""
    is_diffusion: ClassVar[bool] = True
    """Whether it denoises; else it restores an image in one evaluation."""
    uses_strides: ClassVar[bool] = False
    """Whether it learns blocks of slices that lie further apart than neighbours."""
    is_axial: ClassVar[bool] = True
    """Whether its slices are axial ones."""
    samples_by_itself: ClassVar[bool] = True
    """Whether separate blocks can be sampled from it, for pictures during training."""

    # What the network sees and returns

    def slices_seen(self, block_slices: int) -> int:
        """Slices of a block, the network's input."""
        return block_slices

    def output_slices(self, block_slices: int) -> slice:
        """The places within a block of the slices that the network returns."""
        return slice(0, None)

    def noisy_slices(self, block_slices: int) -> slice:
        """The places within a block of the slices that are noisy; the others are clean."""
        return slice(0, None)

    def check(self, block_slices: int) -> None:
        """Raise InputError where there can be no blocks of so many slices."""

    def padded(
        self, x_t: torch.Tensor, t: int, multiple: int, schedule: NoiseSchedule
    ) -> torch.Tensor:
        """Noisy blocks x_t (B, k, H, W) at timestep t as the network is given them.

        Padded below and right to a `multiple` of pixels where the type allows other sizes; what is
        added is cut off again. By default nothing is.
        """
        return x_t

    # Where in a volume the blocks lie

    def partition(self, shape: tuple[int, int, int], block_slices: int) -> Partition:
        """A partition of a volume (z, y, x) into blocks, without randomness. Raises InputError."""
        raise NotImplementedError

    def mean_blocks(self, n_slices: int, block_slices: int) -> float:
        """How many blocks cover `n_slices` axial slices, on average over random partitions."""
        return n_slices

    def draw_place(
        self,
        shape: tuple[int, int, int],
        block_slices: int,
        strides: Sequence[int],
        rng: np.random.Generator,
    ) -> Place:
        """A random place for a block in a training volume (z, size, size).

        strides: distances between slices to draw from, where the type uses them.
        """
        raise NotImplementedError

    # What is learned

    def prediction(self, predict: str) -> str:
        """What the network's output is, given the `predict` of a run's settings: "v" or "eps"."""
        return predict

    def draw_batch(self, x0: torch.Tensor, codes: torch.Tensor, draw: Draw) -> Batch:
        """A training batch from clean blocks x0 (n, k, H, W) and their position codes (n,).

        Gaussian noise, and timesteps stratified over the whole batch: see `timesteps_of`.
        """
        import numpy as np
        import torch

        from diffusionblend.priors.prior_types.batches import NoisyBatch

        n_blocks, rng = draw.n_blocks, draw.rng
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        eps = torch.randn(n_blocks, *x0.shape[1:], generator=generator)
        strata = (np.arange(n_blocks) + rng.random(n_blocks)) / n_blocks
        t = torch.from_numpy(timesteps_of(strata, draw))
        return NoisyBatch(x0, codes, eps[draw.share], t[draw.share])

    def network_input(
        self, batch: Any, schedule: NoiseSchedule
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network is given of a batch: blocks (n, k, H, W) and timesteps (n,).

        batch: of the class that `draw_batch` returns.
        """
        return schedule.add_noise(batch.x0, batch.eps, batch.t), batch.t

    def target(
        self, batch: Any, schedule: NoiseSchedule, prediction: str, output: slice
    ) -> torch.Tensor:
        """What the network should return: v or eps of the output slices (n, slices, H, W)."""
        x0, eps = batch.x0[:, output], batch.eps[:, output]
        return eps if prediction == "eps" else schedule.v_target(x0, eps, batch.t)


def timesteps_of(strata: np.ndarray, draw: Draw) -> np.ndarray:
    """The timesteps (n,) of numbers (n,) spread evenly over 0 to 1.

    The draw's `low_share` of them lie below LOW_NOISE_BELOW, the others anywhere.
    """
    import numpy as np

    share = draw.low_share
    if not share:
        return (strata * draw.n_timesteps).astype(np.int64)
    low = strata / share * LOW_NOISE_BELOW
    even = (strata - share) / (1 - share) * draw.n_timesteps
    return np.where(strata < share, low, even).astype(np.int64)
