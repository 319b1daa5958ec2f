"""The errors a user can mend: each says what was got, what was expected and what to try."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

SWITCHES = ("force", "sinograms", "horizontal-axis", "curved")
"""Options without a value that messages name."""
OPTION = re.compile(
    r"""
    (?<!\w)'\w[^']*'                            # a command to type, which stays as it is
    | (?<![\w-])--(?P<name>[a-z][a-z0-9.-]*[a-z0-9])
      (?: [ ] (?: (?P<plain> -?\d[\d.]*(?:e[+-]?\d+)? | [A-Z]+(?:\.\w+)? | '[^']*' )
                    (?! [\w=] | \.\w )
                | (?P<word> (?!(?:and|or|with|to|for)\b) [A-Za-z0-9][^\s,;()]* )
                  (?= $ | [,;)] | [ ]or[ ] | [ ]-- ) ) )?
      (?P<more> [ ](?=--) )?
    """,
    re.VERBOSE,
)
_spoken = {"options": False}


@contextmanager
def on_the_command_line() -> Iterator[None]:
    """Have messages name settings as options, `--steps 50`, not as in Python, `steps=50`.

    The messages are written with options, once; those of other programs and commands to type, which
    stand in quotation marks, stay as they are.
    """
    before, _spoken["options"] = _spoken["options"], True
    try:
        yield
    finally:
        _spoken["options"] = before


def in_python(text: str, at_most: int = 0) -> str:
    """A text whose options are written as arguments: `steps=50` for `--steps 50`.

    An option without a value becomes the argument's name alone, a switch `force=True`. at_most: how
    many options, from the first on; 0 for all.
    """

    def argument(found: re.Match[str]) -> str:
        option = found["name"]
        if option is None:
            return found[0]
        value = found["plain"] or (f'"{found["word"]}"' if found["word"] else None)
        if value is None and option in SWITCHES:
            value = "True"
        name = option.replace("-", "_")
        return f"{name}{'' if value is None else f'={value}'}{', ' if found['more'] else ''}"

    return OPTION.sub(argument, text, at_most)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the name that was probably meant, whatever its case; nothing where none is.

    First one that begins with it (--arc: --arc-degrees), then one with it as a part (tv: admm-tv),
    then one that is spelt alike.
    """
    by_lower, wanted = {one.lower(): one for one in known}, name.lower()
    begun = sorted((one for one in by_lower if wanted and one.startswith(wanted)), key=len)
    parts = [one for one in by_lower if wanted and wanted in one.split("-")]
    near = [*begun, *parts, *difflib.get_close_matches(wanted, list(by_lower), 1)]
    return f"did you mean {by_lower[near[0]]}?" if near else ""


class InputError(Exception):
    """Bad input; the command line prints its message alone and exits with `exit_code`.

    Shapes: none. The message has up to three sentences: what was got, what was expected, what to
    try. They name settings as options (what was got, only where it begins with one), and `str`
    writes these as Python has them, unless the command line runs. No ValueError, since the command
    line's parser takes those of settings for wrong usage.
    """

    exit_code = 1

    def __init__(self, got: str, expected: str = "", try_: str = "") -> None:
        self.got, self.expected, self.try_ = got, expected, try_
        super().__init__(got, expected, try_)

    def __str__(self) -> str:
        got, expected, try_ = self.got, self.expected, self.try_
        if not _spoken["options"]:
            got = in_python(got, 1) if got.startswith("--") else got  # the rest is users' own words
            expected, try_ = in_python(expected), in_python(try_)
        lines = [got]
        if expected:
            lines.append(f"Expected: {expected}")
        if try_:
            lines.append(f"Try: {try_}")
        return "\n".join(lines)


class UnknownSettingError(InputError, TypeError):
    """A class was given a setting that it does not have."""


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
