"""The network's rate against plain convolutions of its widths, measured in turn in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from diffusionblend.geometry.grid import Grid
from diffusionblend.priors.network import apply_unet
from diffusionblend.priors.precision import has_bfloat16, runs_bfloat16
from diffusionblend.priors.prior import Prior

STACK_DEPTH = 4
SQUARE_ON_GPU, SQUARE_ON_CPU = 8192, 2048
"""Width of the matrix product that stands for the machine's peak."""
MID_TIMESTEP = 500


@dataclass(frozen=True)
class Work:
    """Something to time: FLOPs of one call, and the call."""

    name: str
    flops: int
    call: Callable[[], object]


@dataclass(frozen=True)
class Level:
    """One resolution of the network: pixels a side, channels, FLOPs of its 3 x 3 convolutions."""

    pixels: int
    channels: int
    flops: int

    @property
    def name(self) -> str:
        """How the tables call its plain convolutions."""
        return f"{STACK_DEPTH} plain convolutions, {self.channels} wide at {self.pixels} pixels"


def synchronizer(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done all its work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def network_work(prior: Prior, n_blocks: int) -> Work:
    """One network evaluation of a batch, as the sampler makes it, with its FLOPs counted."""
    size = prior.config.image_size
    x = torch.randn(n_blocks, prior.block_slices, size, size, device=prior.device)
    times = torch.full((n_blocks,), MID_TIMESTEP, device=prior.device)
    grid = Grid(shape=(prior.block_slices, size, size), spacing_mm=(1.0, 1.0, 1.0))
    codes = prior.for_grid(grid).codes(1, n_blocks, x.device)

    def call() -> torch.Tensor:
        with torch.no_grad():
            return apply_unet(
                prior.unet,
                x,
                times,
                codes,
                unshuffle=prior.config.unshuffle,
                bf16=runs_bfloat16(prior.precision, x.device),
            )

    return Work("network", count_flops(call), call)


def count_flops(call: Callable[[], object]) -> int:
    """FLOPs of a call by torch's counter: convolutions, matrix products and attention."""
    cpu_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(
        display=False, custom_mapping={cpu_attention: _attention_flops}
    ) as counter:
        call()
    return counter.get_total_flops()


def _attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *rest: object, **options: object
) -> int:
    """FLOPs of an attention on a CPU, which torch's counter does not know."""
    return sdpa_flop_count(query, key, value)


def network_levels(prior: Prior, network: Work) -> list[Level]:
    """The network's resolutions with the FLOPs of the 3 x 3 convolutions at each."""
    found: dict[int, int] = {}

    def count(module: torch.nn.Conv2d, inputs: tuple, output: torch.Tensor) -> None:
        if module.kernel_size == (3, 3):
            per_value = 2 * 9 * module.in_channels // module.groups
            pixels = output.shape[-1]
            found[pixels] = found.get(pixels, 0) + per_value * output.numel()

    convolutions = [m for m in prior.unet.modules() if isinstance(m, torch.nn.Conv2d)]
    hooks = [m.register_forward_hook(count) for m in convolutions]
    network.call()
    for hook in hooks:
        hook.remove()
    config = prior.config
    levels = []
    for i, channels in enumerate(config.channels):
        pixels = config.image_size // config.unshuffle // 2**i
        levels.append(Level(pixels, channels, found.get(pixels, 0)))
    return levels


def fast_dtype(device: torch.device) -> torch.dtype:
    """What a network of automatic precision computes in there."""
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


def plain_work(level: Level, n_blocks: int, device: torch.device) -> Work:
    """A stack of 3 x 3 convolutions of a level's width, channels last, nothing between."""
    options = {"device": device, "dtype": fast_dtype(device)}
    stack = [
        torch.nn.Conv2d(level.channels, level.channels, 3, padding=1, bias=False, **options)
        for _ in range(STACK_DEPTH)
    ]
    convolutions = torch.nn.Sequential(*stack).to(memory_format=torch.channels_last)
    x = torch.randn(n_blocks, level.channels, level.pixels, level.pixels, **options)
    x = x.to(memory_format=torch.channels_last)

    def call() -> torch.Tensor:
        with torch.no_grad():
            return convolutions(x)

    return Work(level.name, count_flops(call), call)


def matrix_work(device: torch.device, n: int | None = None) -> Work:
    """A matrix product, near the machine's peak."""
    n = n or (SQUARE_ON_GPU if device.type == "cuda" else SQUARE_ON_CPU)
    a, b = (torch.randn(n, n, device=device, dtype=fast_dtype(device)) for _ in range(2))
    return Work(f"matrix product, {n} x {n}", 2 * n**3, lambda: a @ b)


@dataclass
class NetworkSpeed:
    """Seconds a call of each piece of work, one list entry per round, and what they mean."""

    network: Work
    levels: list[tuple[Level, Work]]
    matrix: Work
    n_blocks: int
    synchronize: Callable[[], None]
    seconds: dict[str, list[float]]

    @classmethod
    def of(cls, prior: Prior, n_blocks: int, matrix_size: int | None = None) -> NetworkSpeed:
        """What is to be timed for a prior at a batch of blocks; every piece has run once."""
        network = network_work(prior, n_blocks)
        levels = [
            (level, plain_work(level, n_blocks, prior.device))
            for level in network_levels(prior, network)
        ]
        matrix = matrix_work(prior.device, matrix_size)
        matrix.call()
        return cls(network, levels, matrix, n_blocks, synchronizer(prior.device), {})

    def round(self, least_seconds: float) -> None:
        """Time each piece once more, repeated for at least so many seconds, one after another."""
        for work in (self.network, *(w for _, w in self.levels), self.matrix):
            self.seconds.setdefault(work.name, []).append(self._time(work, least_seconds))

    def _time(self, work: Work, least_seconds: float) -> float:
        self.synchronize()
        started, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - started < least_seconds:
            work.call()
            self.synchronize()
            calls += 1
        return (time.perf_counter() - started) / calls

    def rows(self) -> list[dict[str, object]]:
        """FLOPs, rate (median, lowest, highest of the rounds) and the network's share of it."""
        network = self._rates(self.network)
        rows = [self._row("network", self.network.flops, network, None)]
        plain = [(level, self._rates(work)) for level, work in self.levels]
        total = sum(level.flops for level, _ in plain)
        weighted = [
            total / sum(level.flops / rates[i] for level, rates in plain)
            for i in range(len(network))
        ]
        name = "plain convolutions, weighted by the network's FLOPs at each width"
        rows.append(self._row(name, None, weighted, network))
        rows += [
            self._row(work.name, work.flops, rates, network)
            for (_, work), (_, rates) in zip(self.levels, plain, strict=True)
        ]
        rows.append(
            self._row(self.matrix.name, self.matrix.flops, self._rates(self.matrix), network)
        )
        return rows

    def facts(self) -> dict[str, object]:
        """The batch, its FLOPs, and how much of them the 3 x 3 convolutions are."""
        counted = sum(level.flops for level, _ in self.levels)
        return {
            "batch_blocks": self.n_blocks,
            "gflop_a_block": self.network.flops / self.n_blocks / 1e9,
            "share_of_3x3_convolutions": counted / self.network.flops,
        }

    def _rates(self, work: Work) -> list[float]:
        """FLOP/s in every round."""
        return [work.flops / s for s in self.seconds[work.name]]

    @staticmethod
    def _row(
        name: str, flops: int | None, rates: list[float], network: list[float] | None
    ) -> dict[str, object]:
        row: dict[str, object] = {
            "what": name,
            "gflop": None if flops is None else flops / 1e9,
            "gflop_per_s": statistics.median(rates) / 1e9,
            "lowest": min(rates) / 1e9,
            "highest": max(rates) / 1e9,
        }
        if network is not None:
            shares = [100 * n / r for n, r in zip(network, rates, strict=True)]
            row["network_share_percent"] = statistics.median(shares)
        return row
