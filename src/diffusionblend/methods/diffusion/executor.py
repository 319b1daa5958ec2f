"""How the steps of a reverse loop are carried out: slabs, devices, processes and timing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from diffusionblend.methods.diffusion.stopwatch import Stopwatch
from diffusionblend.operators.kernels.threads import side_by_side
from diffusionblend.priors.partition import AXIAL, Partition, Slab
from diffusionblend.priors.prior import BlockDenoiser, Prior
from diffusionblend.ranks import Ranks

Advance = Callable[[torch.Tensor, torch.Tensor, slice], torch.Tensor]
"""From x0, eps and the slices that they are of to the next x of those slices."""


@dataclass
class Executor:
    """The network on the blocks of a volume, slab by slab, its slices shared by processes.

    prior: what denoises. times: timesteps, falling. partitions: one for each of them. batch_blocks:
    blocks in a network batch. device: where the network runs; the volume may be elsewhere, and
    comes slab by slab then. ranks: processes that share the blocks; each ends every step with the
    whole volume. position_unit: of a positional embedding of one slice. coronal_prior: for
    partitions into coronal slices. evaluations: network evaluations of the whole volume so far.
    """

    prior: BlockDenoiser
    times: Sequence[int]
    partitions: Sequence[Partition]
    batch_blocks: int
    device: torch.device | str = "cpu"
    ranks: Ranks = field(default_factory=Ranks)
    position_unit: float = 1.0
    coronal_prior: BlockDenoiser | None = None
    evaluations: int = 0

    def __post_init__(self) -> None:
        self.stopwatch = Stopwatch(self.device)
        self._most_blocks = self.batch_blocks  # slabs stay as they are for all processes

    def denoise(
        self,
        x: torch.Tensor,
        i: int,
        advance: Advance,
        *,
        whole: bool = False,
        also: Sequence[torch.Tensor | None] = (),
    ) -> None:
        """Denoise x (z, y, x) at step i and advance it, in place.

        whole: all slices are advanced together. also: volumes that `advance` changes with x.
        """
        shares = self._shares(i)
        x0_all, eps_all = (torch.empty_like(x), torch.empty_like(x)) if whole else (None, None)
        for slab in shares[self.ranks.rank]:
            with self.stopwatch.part("network"):
                x0, eps = self._denoised(x[slab.slices].to(self.device), i, slab.partition)
            if x0_all is None or eps_all is None:
                x[slab.slices] = advance(x0, eps, slab.slices).to(x)
            else:
                x0_all[slab.slices], eps_all[slab.slices] = x0.to(x), eps.to(x)
        self.evaluations += 1
        if x0_all is None or eps_all is None:
            self._gather(shares, [x, *also])
            return
        self._gather(shares, [x0_all, eps_all])
        x[:] = advance(x0_all.to(self.device), eps_all, slice(0, len(x))).to(x)

    def denoise_with_gradient(
        self,
        x: torch.Tensor,
        i: int,
        advance: Advance,
        misfit: Callable[[torch.Tensor, slice], torch.Tensor],
        also: Sequence[torch.Tensor | None] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, with the gradient (z, y, x) of half the misfit by x, and the misfit (z,).

        misfit: of each slice of an estimate, differentiable.
        """
        shares = self._shares(i)
        gradient, misfits = torch.zeros_like(x), x.new_zeros(len(x))
        for slab in shares[self.ranks.rank]:
            part = slab.slices
            with self.stopwatch.part("network"), torch.enable_grad():
                x_t = x[part].to(self.device).detach().clone().requires_grad_()
                x0, eps = self._denoised(x_t, i, slab.partition)
                found = misfit(x0, part)
                (slope,) = torch.autograd.grad(0.5 * found.sum(), x_t)
            gradient[part], misfits[part] = slope.to(gradient), found.detach().to(misfits)
            x[part] = advance(x0.detach(), eps.detach(), part).to(x)
        self.evaluations += 1
        self._gather(shares, [x, gradient, misfits, *also])
        return gradient, misfits

    def move_slices(
        self,
        x: torch.Tensor,
        moved: Callable[[torch.Tensor, slice], torch.Tensor],
        *,
        whole: bool,
    ) -> None:
        """Move x (z, y, x), in place, by slabs of this process's share, or the whole at once."""
        everything = slice(0, len(x))
        shares = self._shares(0) if not whole else []
        for part in [everything] if whole else [s.slices for s in shares[self.ranks.rank]]:
            x[part] = moved(x[part].to(self.device), part).to(x)
        if not whole:
            self._gather(shares, [x])

    def move_whole(self, x: torch.Tensor, moved: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Move x (z, y, x), in place, where it is."""
        x[:] = moved(x)

    @property
    def _shares_threads(self) -> bool:
        """Whether the blocks of a batch are denoised side by side, as a processor's threads do."""
        is_network = isinstance(self.prior, Prior) and self.prior.precision != "int8"
        return is_network and torch.device(self.device).type == "cpu"

    def seconds(self) -> dict[str, float]:
        """Seconds by part until now."""
        return self.stopwatch.seconds()

    def _shares(self, i: int) -> list[list[Slab]]:
        """The slabs of step i's partition, dealt to the processes."""
        slabs = self.partitions[i].slabs(self.batch_blocks)
        return self.ranks.share(slabs, [len(s.partition.blocks) for s in slabs])

    def _gather(
        self, shares: Sequence[Sequence[Slab]], volumes: Sequence[torch.Tensor | None]
    ) -> None:
        owned = [_range_of(share) for share in shares]
        for volume in volumes:
            if volume is not None:
                self.ranks.gather_slices(volume, owned)

    def _denoised(
        self, x_t: torch.Tensor, i: int, partition: Partition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps (z, y, x) of a slab, its blocks in batches of `batch_blocks`."""
        prior = self.prior if partition.axis == AXIAL else self.coronal_prior
        assert prior is not None, "a partition into coronal slices needs their prior"
        while True:
            try:
                parts = self._in_batches(prior, x_t, i, partition)
                break
            except torch.OutOfMemoryError:
                if min(self.batch_blocks, self._most_blocks, len(partition.blocks)) == 1:
                    raise
            self._take_smaller_batches(len(partition.blocks))
        x0, eps = (torch.cat(part) for part in zip(*parts, strict=True))
        n_slices = x_t.shape[partition.axis]
        return partition.scatter(x0, n_slices), partition.scatter(eps, n_slices)

    def _in_batches(
        self, prior: BlockDenoiser, x_t: torch.Tensor, i: int, partition: Partition
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """x0 and eps of the blocks (block, slice, y, x), batch by batch."""
        batches = partition.blocks.split(min(self.batch_blocks, self._most_blocks))
        parts = []
        for blocks in batches:
            position = partition.code * self.position_unit
            arguments = partition.gather(x_t, blocks), self.times[i], position
            if x_t.requires_grad and len(batches) > 1:  # keep one batch's layers at a time
                found = checkpoint(
                    prior.denoise, *arguments, use_reentrant=False, preserve_rng_state=False
                )
                parts.append(found)
            elif self._shares_threads and not x_t.requires_grad:
                shares = arguments[0].chunk(torch.get_num_threads())
                parts += side_by_side(partial(_denoise, prior, *arguments[1:]), shares)
            else:
                parts.append(prior.denoise(*arguments))
        return parts

    def _take_smaller_batches(self, n_blocks: int) -> None:
        """Half as many blocks a batch from now on; the result does not depend on it."""
        self._most_blocks = min(self.batch_blocks, self._most_blocks, n_blocks) // 2
        warnings.warn(
            f"The GPU's memory was too small for the batch; {self._most_blocks} blocks are taken "
            "at a time from now on.",
            stacklevel=2,
        )
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()


def _denoise(
    prior: BlockDenoiser, t: int, code: float, x_t: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return prior.denoise(x_t, t, code)


def _range_of(slabs: Sequence[Slab]) -> range:
    """The slices of neighbouring slabs."""
    return range(slabs[0].slices.start, slabs[-1].slices.stop) if slabs else range(0)
