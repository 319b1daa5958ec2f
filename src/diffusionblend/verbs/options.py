"""Options that several verbs share, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from diffusionblend.errors import InputError
from diffusionblend.io.files import atomic_output, check_outputs_absent
from diffusionblend.provenance import RunRecord, run_record_path
from diffusionblend.ranks import local_rank, rank_and_count

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Device = Literal["auto", "cpu", "cuda"]

SEED_BITS = 63
"""What NumPy's and torch's generators both take."""


def choose_device(device: Device) -> str:
    """The torch device of an option: "auto" takes a GPU where there is one. Raises InputError.

    Under torchrun each process takes the GPU of its own number.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device here.", try_="--device cpu")
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    number = local_rank()
    return "cuda" if number is None else f"cuda:{number % torch.cuda.device_count()}"


def check_seed(seed: int) -> None:
    """Raises InputError for a seed that a generator would refuse or wrap around."""
    if not 0 <= seed < 2**SEED_BITS:
        raise InputError(f"The seed is {seed}.", f"a whole number from 0 to 2^{SEED_BITS} - 1")


def check_output_and_record(output: Path, force: bool) -> None:
    """Refuse, before any work, an output or a run record beside it that exists without `force`."""
    check_outputs_absent([output, run_record_path(output)], force)


def write_record(record: RunRecord, output: Path) -> None:
    """The run record beside its output, which has just been written."""
    record.write(run_record_path(output), force=True)


def write_text(path: Path, text: str, force: bool) -> None:
    """A text file, whole or not at all."""
    with atomic_output(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def say(text: str, *, every_rank: bool = False) -> None:
    """A line for the user on standard output, from the first process alone by default."""
    if every_rank or rank_and_count()[0] == 0:
        print(text, flush=True)
