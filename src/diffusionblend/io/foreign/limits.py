"""The clock and the memory that reading a foreign file may take, by its size and what it claims.

In the child process the system enforces both: its processor time and its address space are limited.
A reader that has seen a header says by `check_claim` what the file claims to contain; that is
refused where the file cannot hold it or the memory cannot take it, and else there is room for it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from diffusionblend.errors import InputError
from diffusionblend.memory import address_space_bytes, available_memory_bytes

BYTES_PER_MB, BYTES_PER_GB = 1e6, 1e9
SPARE_BYTES = 1 << 30
"""What a reader may take beside a multiple of the file: libraries, buffers, small arrays."""
COPIES = 5
"""How often a reader may hold what a file claims: as read, turned, as float32, and on the way."""
LEAST_COPIES = 3
"""How often it does at least: less memory is refused before anything is read."""
LEAST_SECONDS, SECONDS_A_MB = 3.0, 1.0
"""Processor time for a file; JPEG 2000, the slowest of all, takes about a tenth of it."""
SECONDS_A_CLAIMED_MB = 0.1
WAITING_FACTOR, WAITING_SECONDS = 4.0, 30.0
"""Time on the clock, for slow disks and busy machines: a multiple of that, and some more."""
HIGHEST_RATIO = 1100
"""Deflate packs at most 1032 to one."""
HARMLESS_BYTES = 128 << 20
"""Claims below this are not compared with the file: other packings go further than deflate."""


@dataclass(frozen=True)
class Limits:
    """What reading a file may take: processor time and time on the clock in s, memory in bytes."""

    cpu_seconds: float
    clock_seconds: float
    memory_bytes: int

    @classmethod
    def for_file(cls, n_bytes: int) -> Limits:
        """The limits for a file, or for several together, of so many bytes."""
        seconds = LEAST_SECONDS + SECONDS_A_MB * n_bytes / BYTES_PER_MB
        return cls(
            seconds, WAITING_FACTOR * seconds + WAITING_SECONDS, SPARE_BYTES + COPIES * n_bytes
        )


class _Applied:
    """What this process may take at the moment; nothing is limited outside the child."""

    base_bytes: int | None = None


def apply_limits(limits: Limits) -> None:
    """Limit this process, which is the child, from now on. What a system lacks is left out."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, usage.ru_utime + usage.ru_stime + limits.cpu_seconds)
    _Applied.base_bytes = address_space_bytes()
    if _Applied.base_bytes is not None:
        _limit(resource.RLIMIT_AS, _Applied.base_bytes + limits.memory_bytes)


def check_claim(
    path: Path | str,
    n_bytes: int,
    *,
    held_bytes: int | None = None,
    ratio: float = HIGHEST_RATIO,
    what: str = "voxels",
    whole: bool = True,
) -> None:
    """Refuse what a file claims to contain where it cannot; in the child, make room for the rest.

    n_bytes: of the numbers once they are read. held_bytes: what the file has of them, by default
    its size. ratio: how far they may be packed, 1 where they are not. whole: whether all of them
    are read; else the memory is not compared. Raises InputError.
    """
    held = Path(path).stat().st_size if held_bytes is None else held_bytes
    free = _free_bytes()
    room = "" if free is None else f"; {in_bytes(free)} of memory are free"
    if n_bytes > max(HARMLESS_BYTES, ratio * held):
        raise InputError(
            f"{path} claims {in_bytes(n_bytes)} of {what}, and holds {in_bytes(held)}{room}.",
            "a whole file that holds what its header says",
            "copy it again",
        )
    if whole and n_bytes > HARMLESS_BYTES:
        check_memory(path, LEAST_COPIES * n_bytes)
    _make_room(COPIES * n_bytes, SECONDS_A_CLAIMED_MB * n_bytes / BYTES_PER_MB)


def check_memory(source: Path | str, n_bytes: int) -> None:
    """Raises InputError where so many bytes are not free."""
    free = _free_bytes()
    if free is not None and n_bytes > free:
        raise InputError(
            f"{source} would take about {in_bytes(n_bytes)} of memory, and {in_bytes(free)} are "
            "free.",
            "what fits into the memory",
            "a part of it, a machine with more memory, or end other programs",
        )


def in_bytes(n_bytes: float) -> str:
    """A number of bytes in words."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


def _free_bytes() -> int | None:
    """What is free; the limit that the child has set itself, and can raise, does not count."""
    if _Applied.base_bytes is None:
        return available_memory_bytes()
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        return available_memory_bytes()
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _make_room(n_bytes: int, cpu_seconds: float) -> None:
    """Raise the child's limits by what a claim, found to be possible, will take."""
    if _Applied.base_bytes is None:
        return
    import resource

    for kind, more in ((resource.RLIMIT_AS, n_bytes), (resource.RLIMIT_CPU, cpu_seconds)):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            _limit(kind, soft + more)


def _limit(kind: int, value: float) -> None:
    """Set the soft limit, as far as the hard one allows."""
    import resource

    _, hard = resource.getrlimit(kind)
    wanted = int(value) + 1
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    with suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(kind, (wanted, hard))
