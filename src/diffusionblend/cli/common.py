"""Options that several commands share, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from diffusionblend.cli.progress import PATIENCE_SECONDS, Advance, progress
from diffusionblend.cli.streams import note_output
from diffusionblend.data.printable import printable
from diffusionblend.devices import choose_device as choose_device
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import (
    atomic_output,
    check_outputs_absent,
    check_writable,
    file_suffix,
)
from diffusionblend.io.locks import hold_output
from diffusionblend.ranks import rank_and_count
from diffusionblend.runs.record import RunRecord, run_record_path
from diffusionblend.runs.unfinished import remove_unfinished, unfinished

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Device = Literal["auto", "cpu", "cuda"]
PrecisionChoice = Literal["auto", "float32", "bfloat16", "int8"]

FILE_SUFFIXES = (
    *(".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".npy", ".npz", ".h5", ".hdf5", ".dcm", ".zarr"),
    *(".csv", ".json", ".jsonl", ".md", ".toml", ".txt", ".html", ".pdf", ".png", ".tif", ".tiff"),
)
"""Of names that are not meant for a folder."""
LARGE_VOXELS = 6_000_000
"""Of a volume that takes about a second to write, compressed."""
SEED_BITS = 63
"""What NumPy's and torch's generators both take."""


def check_seed(seed: int) -> None:
    """Raises InputError for a seed that a generator would refuse or wrap around."""
    if not 0 <= seed < 2**SEED_BITS:
        raise InputError(f"The seed is {seed}.", f"a whole number from 0 to 2^{SEED_BITS} - 1")


def parsed_shard(shard: str) -> tuple[int, int]:
    """I and N of "I/N". Raises InputError."""
    first, slash, count = shard.partition("/")
    if slash and first.isdecimal() and count.isdecimal() and int(first) < int(count):
        return int(first), int(count)
    raise InputError(f"--shard is {shard!r}.", "I/N with I from 0 to N - 1", "--shard 0/4")


def check_output_and_record(output: Path, force: bool, *, hold: bool = True) -> None:
    """Refuse, before any work, an output or a run record beside it that exists without `force`.

    hold: keep other runs from the output until the command ends, and refuse one that another run
    is about to write. What a killed run left of this output is removed first.
    """
    prepare_output(output, hold=hold)
    check_outputs_absent([output, run_record_path(output)], force)


def prepare_output(output: Path, *, hold: bool = True) -> None:
    """Hold an output for this command, and remove what a killed run left of it.

    Of several processes of one run the first holds it. Raises InputError, OutputWriteError.
    """
    check_writable(output)
    if hold and rank_and_count()[0] == 0:
        hold_output(output)
    remove_unfinished(output)


def check_folder_to_fill(output: Path, contents: str) -> None:
    """Refuse an output that is a file, or one to be made that is named as if it were, at once.

    contents: what is put into the folder. Raises InputError, and OutputWriteError where nothing can
    be written there.
    """
    if output.is_dir():
        return
    suffix = file_suffix(output)
    stem = output.name[: -len(suffix)] if suffix in FILE_SUFFIXES else output.name
    if output.exists() or stem != output.name:
        raise InputError(
            f"The output {output} is {'a file' if output.exists() else 'named as a file is'}.",
            f"a folder, for {contents}",
            f"-o {output.with_name(stem) if stem not in ('', output.name) else 'results'}",
        )
    check_writable(output)


def check_suffix(path: Path, what: str, suffixes: tuple[str, ...]) -> None:
    """Raises InputError unless `path` ends in one of the suffixes; call it before long work."""
    if file_suffix(path) not in suffixes:
        raise InputError(
            f"{what} cannot be written as {path.name}.",
            f"a name that ends in {' or '.join(suffixes)}",
            path.with_suffix(suffixes[0]).name,
        )


def check_outputs_are_no_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises InputError where an output is the very file of an input, by whatever path."""
    try:
        sources = {path.resolve() for path in inputs}
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise InputError(f"The input cannot be found: {error}.", "a file or a folder") from error
    for output in outputs:
        if output.resolve() in sources:
            raise InputError(
                f"The output {output} is also an input.", "another file for it", "another name"
            )


def add_input(record: RunRecord, path: Path) -> None:
    """Add an input to the record with its hash, which a large one takes a while to make."""
    with shown(f"hash {path.name} (MB)") as on_step:
        record.add_input(path, on_step)


@contextmanager
def shown(task: str, *, at_once: bool = False) -> Iterator[Advance]:
    """Show the progress of what is usually short, where it lasts or `at_once`."""
    with progress(task, after_seconds=0.0 if at_once else PATIENCE_SECONDS) as on_step:
        yield on_step


@contextmanager
def timed_part(
    record: RunRecord, part: str, what: object = "", *, at_once: bool = False
) -> Iterator[Advance]:
    """Time a part of a run for its record, and show its progress where it lasts or `at_once`."""
    with record.timed(part), shown(f"{part} {what}".strip(), at_once=at_once) as on_step:
        yield on_step


@contextmanager
def writing(record: RunRecord, output: Path, volume: Volume) -> Iterator[None]:
    """Time and show the writing of a volume; of a large one before it begins.

    The library that writes lets no other thread draw until it is done.
    """
    is_large = volume.values.size > LARGE_VOXELS
    with timed_part(record, "write", output.name, at_once=is_large):
        yield


@contextmanager
def recorded(record: RunRecord, output: Path, *others: Path) -> Iterator[None]:
    """Write an output, and others beside it, in the block; the record follows.

    A kill in between leaves a mark by which the same command knows that they are its own.
    """
    with unfinished([*others, output]):
        yield
        write_record(record, output)


def write_record(record: RunRecord, output: Path) -> None:
    """The run record beside its output, which has just been written."""
    record.write(run_record_path(output), force=True)


def write_text(path: Path, text: str, force: bool) -> None:
    """A text file, whole or not at all."""
    with atomic_output(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def say(text: str, *, every_rank: bool = False) -> None:
    """A line for the user on standard output, from the first process alone by default.

    What is not printable in it, such as control characters of a file's tags, is escaped.
    """
    if every_rank or rank_and_count()[0] == 0:
        note_output()
        print(printable(text), flush=True)
