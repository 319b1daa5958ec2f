"""Text headers of scanners, sections of lines `name = value`, and the frames beside them."""

from __future__ import annotations

import configparser
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError, did_you_mean
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import COPY_AGAIN
from diffusionblend.io.foreign.limits import in_bytes
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.tiff import read_tiff_projections

MOST_HEADER_BYTES = 2_000_000


@dataclass(frozen=True)
class TextHeader:
    """The values of a header by their names, in small letters, and the file they are from.

    known: names of its format, which are no misspelt others.
    """

    path: Path
    values: dict[str, str]
    known: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, path: Path, kind: str, sections: tuple[str, ...], known: tuple[str, ...] = ()
    ) -> TextHeader:
        """The values of some sections, the first of which must be there. Raises InputError.

        kind: of the header, as a message names it.
        """
        check_readable(path)
        _check_size(path, kind)
        parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
        try:
            parser.read_string(path.read_text(encoding="utf-8-sig", errors="replace"))
            found = {name.lower(): dict(parser[name]) for name in parser.sections()}
            values = dict(found[sections[0].lower()])
        except (configparser.Error, KeyError) as error:
            is_missing = isinstance(error, KeyError | configparser.MissingSectionHeaderError)
            reason = "it has no such section" if is_missing else "it has other lines"
            raise InputError(
                f"{path} could not be read as {kind}: {reason}.",
                f"text with the section [{sections[0]}], a name = value a line",
                COPY_AGAIN,
            ) from error
        for name in sections[1:]:
            values = found.get(name.lower(), {}) | values
        return cls(path, values, known)

    def __contains__(self, name: str) -> bool:
        return bool(self.text(name))

    def text(self, name: str) -> str:
        """A value as it is; empty where there is none."""
        return self.values.get(name.lower(), "").strip()

    @property
    def _has_points(self) -> bool:
        """Whether any value is a number with a decimal point, beside which a comma is none."""
        return any(re.fullmatch(r"[-+]?\d+\.\d+", v.strip()) for v in self.values.values())

    def number(self, name: str, *, positive: bool = False) -> float:
        """A number. Raises InputError where it is missing or none that it could be."""
        text = self.text(name)
        if not text:
            near = did_you_mean(name, self.values.keys() - {n.lower() for n in self.known})
            raise InputError(
                f"{self.path} has no value for {name}.",
                f"a line {name}=NUMBER, as the machine writes it",
                near or "the header as the machine wrote it",
            )
        if re.fullmatch(r"[-+]?\d+,\d+", text) and not self._has_points:
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            raise InputError(
                f"{self.path} has {text!r} for {name}.",
                "a number",
                "copy it again, or correct the line",
            ) from None
        if not math.isfinite(value) or (positive and value <= 0):
            raise InputError(
                f"{self.path} has {name} {value:g}.",
                "a positive, finite number",
                "copy it again, or correct the line",
            )
        return value

    def whole(self, name: str) -> int:
        """A count. Raises InputError."""
        value = self.number(name, positive=True)
        if value != int(value):
            raise InputError(
                f"{self.path} has {name} {value:g}.",
                "a whole number",
                "copy it again, or correct the line",
            )
        return int(value)


def _check_size(path: Path, kind: str) -> None:
    """Raise InputError for what is too large for a header, and would take long to go through."""
    n_bytes = path.stat().st_size
    if n_bytes > MOST_HEADER_BYTES:
        raise InputError(
            f"{path} has {in_bytes(n_bytes)}.",
            f"{kind}, which is a text of at most {in_bytes(MOST_HEADER_BYTES)}",
            "copy it again, or the header itself",
        )


def frames_beside(
    header: Path,
    folder: Path,
    pattern: str | None,
    options: ReadOptions,
    n_views: tuple[int, ...],
) -> RawScan:
    """The frames of a header's scan, over any arc; the angles are the header's.

    pattern: of the frames' names, unless the options have one. n_views: as many as there may be.
    Raises InputError for another number.
    """
    chosen = options.views or pattern
    whole = replace(options, views=chosen, angles=None, arc_degrees=360.0, every=1)
    scan = read_tiff_projections(folder, whole)
    if len(scan.data) not in n_views:
        raise InputError(
            f"{header} tells of {n_views[0]} views, and {folder} has {len(scan.data)} frames.",
            "a frame for every view",
            "--views with a pattern of their names",
        )
    views = options.window.views
    return replace(scan, data=scan.data[views], angles_rad=scan.angles_rad[views])
