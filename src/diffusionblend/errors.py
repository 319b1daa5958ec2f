"""The errors a user can mend: each says what was got, what was expected and what to try."""

from __future__ import annotations

from typing import Any


class InputError(Exception):
    """Bad input; the command line prints its message alone and exits with `exit_code`.

    Shapes: none. The message has up to three sentences: what was got, what was expected, what to
    try. No ValueError, since the command line's parser takes those of settings for wrong usage.
    """

    exit_code = 1

    def __init__(self, got: str, expected: str = "", try_: str = "") -> None:
        self.got, self.expected, self.try_ = got, expected, try_
        lines = [got]
        if expected:
            lines.append(f"Expected: {expected}")
        if try_:
            lines.append(f"Try: {try_}")
        super().__init__("\n".join(lines))

    def __str__(self) -> str:
        """The sentences, a line each; also where another base would quote them, as KeyError."""
        return str(self.args[0])


class UnknownNameError(InputError, KeyError):
    """There is nothing of that name."""


class OutputExistsError(InputError):
    """An output exists already and `--force` was not given."""


class OutputWriteError(InputError):
    """An output could not be written (full disk, no permission); nothing is left behind."""


ADVICE = {
    ("Projections", "Volume"): "simulate(volume, geometry), which makes projections of a volume",
    ("Projections", "RawScan"): "prepare_scan(raw), which corrects a measured scan",
    ("Projections", "path"): "read_projections(path)",
    ("Volume", "Reconstruction"): "its volume, result.volume",
    ("Volume", "Ensemble"): "its mean, ensemble.mean",
    ("Volume", "ndarray"): "Volume(values, grid), the array in HU with its grid",
    ("Volume", "Geometry"): "the volume first, then the geometry",
    ("Volume", "path"): "read_volume(path); to write one: the volume first, then the path",
    ("Grid", "Volume"): "its grid, volume.grid",
    ("Grid", "Projections"): "its grid, scan.grid",
    ("Grid", "Geometry"): "the geometry first, then the grid",
    ("Grid", "tuple"): "Grid(shape=(z, y, x), spacing_mm=(z, y, x))",
    ("Geometry", "Volume"): "ParallelBeam.fitting(volume.grid, views=8), or another geometry",
    ("Geometry", "Projections"): "its geometry, scan.geometry",
    ("Geometry", "type"): "the class made: ParallelBeam.fitting(grid, views=8)",
}
"""What to do with a class that was given in place of another, by the names of both."""


def check_kind(value: Any, kind: type, what: str) -> None:
    """Raise InputError unless a value is of a class. what: what it is given as, "The scan"."""
    if isinstance(value, kind):
        return
    names = [cls.__name__ for cls in type(value).__mro__]
    names += ["path"] if "str" in names or "PurePath" in names else []
    names += ["tuple"] if "list" in names else []
    advice = (ADVICE[kind.__name__, name] for name in names if (kind.__name__, name) in ADVICE)
    raise InputError(
        f"{what} is of the class {type(value).__name__}.",
        f"an object of the class {kind.__name__}",
        next(advice, ""),
    )
