"""Scans of Zeiss (Xradia) X-ray microscopes: a .txrm, an OLE file with a stream for every view.

As other programs read them (CIL, dxchange, txrm2tiff): PixelSize is that at the object, in
micrometres; distances are in mm, of either sign; the object turns by the angles, so that the source
turns the other way; the first row is the lowest; views are moved by the alignment's shifts after
they have been divided by the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import RawScan, Values
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import COPY_AGAIN, as_input_error
from diffusionblend.io.scans.options import ReadOptions

TXRM_SUFFIX = ".txrm"
LAYOUT = "a tomography of a Zeiss or Xradia microscope"
NUMBERS = {5: "<u2", 10: "<f4"}
"""DataType of an image, and what NumPy calls it."""
VIEWS_A_FOLDER = 100
CONE = 1
"""Of ImageInfo/XrayGeometry; others are parallel beams."""
MICROMETRES = 1e-3
LONGEST_STREAM = 100_000_000
"""Bytes of a stream of parameters, above which none is read."""
MOVED_PIXELS, SAME_SHARE = 1.0, 0.01
"""A stage that moves by so many pixels, and distances or exposures that differ by such a share."""


def read_txrm(path: Path | str, options: ReadOptions) -> RawScan:
    """A cone-beam scan, or a parallel one, by its .txrm, with the reference in it as flat.

    Needs the package olefile. Views that the alignment shifts are divided by the reference and
    moved by whole pixels. Raises InputError for a file that lacks a part or contradicts itself, and
    for stages that move along the axis.
    """
    path = Path(path)
    check_readable(path)
    ole_file = _library(path)
    try:
        with ole_file(str(path)) as ole:
            return _scan(_Streams(path, ole), options)
    except InputError:
        raise
    except Exception as error:  # whatever the library makes of damage
        raise as_input_error(error, path) from error


def _library(path: Path) -> Any:
    """The class that opens OLE files. Raises InputError where it is not installed."""
    try:
        from olefile import OleFileIO
    except ImportError as error:
        raise InputError(
            f"{path} is an OLE file, which needs the package olefile.",
            "olefile beside this program",
            "pip install olefile (or diffusionblend[zeiss]), and give the command again; or export "
            "TIFF from the scanner's software",
        ) from error
    return OleFileIO


@dataclass(frozen=True)
class _Streams:
    """The named streams of a file."""

    path: Path
    ole: Any

    def bytes_of(self, name: str) -> bytes:
        """All of a stream; nothing where there is none. Raises InputError for one too long."""
        if not self.ole.exists(name) or self.ole.get_type(name) != 2:
            return b""
        if self.ole.get_size(name) > LONGEST_STREAM:
            raise self.wrong(f"has {self.ole.get_size(name)} bytes of {name}", "a few numbers")
        content: bytes = self.ole.openstream(name).read()
        return content

    def numbers(self, name: str, count: int, kind: str = "<f4") -> np.ndarray | None:
        """The first numbers of a stream, None where there are fewer."""
        content = self.bytes_of(name)
        if len(content) < count * np.dtype(kind).itemsize:
            return None
        found = np.frombuffer(content, kind, count)
        if not np.isfinite(found).all():
            raise self.wrong(f"has {name} that is not finite", "finite numbers")
        return found.astype(np.float64)

    def needed(self, name: str, count: int = 1, kind: str = "<f4") -> np.ndarray:
        """The same, which must be there. Raises InputError."""
        found = self.numbers(name, count, kind)
        if found is None:
            held = len(self.bytes_of(name)) // np.dtype(kind).itemsize
            raise self.wrong(
                f"has {held} numbers of {name}, of {count}" if held else f"lacks {name}", LAYOUT
            )
        return found

    def whole(self, name: str) -> int:
        """A positive count. Raises InputError."""
        count = int(self.needed(name, kind="<i4")[0])
        if count < 1:
            raise self.wrong(f"has {name} {count}", "a positive number")
        return count

    def image(self, name: str, kind: str, shape: tuple[int, int]) -> np.ndarray:
        """A frame (row, column). Raises InputError where its size is another."""
        expected = int(np.prod(shape)) * np.dtype(kind).itemsize
        held = self.ole.get_size(name) if self.ole.exists(name) else 0
        if held != expected:
            raise self.wrong(
                f"has {held} bytes of {name}", f"{expected}, for {shape[0]} rows of {shape[1]}"
            )
        content = self.ole.openstream(name).read()
        return np.frombuffer(content, kind).reshape(shape)

    def wrong(self, got: str, expected: str) -> InputError:
        """An error that names the file."""
        return InputError(f"{self.path} {got}.", expected, COPY_AGAIN)


def _scan(streams: _Streams, options: ReadOptions) -> RawScan:
    """The views, the reference and the geometry."""
    n_views = streams.whole("ImageInfo/NoOfImages")
    taken = streams.numbers("ImageInfo/ImagesTaken", 1, "<i4")
    n_taken = n_views if taken is None else min(n_views, max(1, int(taken[0])))
    shape = streams.whole("ImageInfo/ImageHeight"), streams.whole("ImageInfo/ImageWidth")
    degrees = streams.needed("ImageInfo/Angles", n_taken)
    pixel_mm = float(streams.needed("ImageInfo/PixelSize")[0]) * MICROMETRES
    if pixel_mm <= 0:
        raise streams.wrong(f"has a PixelSize of {pixel_mm / MICROMETRES:g}", "micrometres above 0")
    _check_stage(streams, n_taken, pixel_mm)
    reference = _reference(streams, shape)
    data, flats, values, moved = _views(streams, options, n_taken, shape, reference)
    return RawScan(
        data=data,
        values=values,
        flats=flats,
        angles_rad=-np.radians(degrees)[options.window.views],
        **_lengths(streams, n_taken, pixel_mm),
        facts={"format": "Zeiss txrm"},
        notes=(*_notes(streams, n_views, n_taken, reference), *moved),
        **options.window.place(*shape),
    )


def _lengths(streams: _Streams, n_views: int, pixel_mm: float) -> dict[str, Any]:
    """Pixel and distances, by the names of a RawScan; without distances of a parallel beam."""
    kind = streams.numbers("ImageInfo/XrayGeometry", 1, "<i4")
    if kind is not None and kind[0] != CONE:
        return {"column_mm": pixel_mm, "row_mm": pixel_mm}
    distances = []
    for name in ("ImageInfo/StoRADistance", "ImageInfo/DtoRADistance"):
        found = np.abs(streams.needed(name, n_views))
        if not found.min() > 0 or np.ptp(found) > SAME_SHARE * found.min():
            raise streams.wrong(
                f"has {name} from {found.min():g} to {found.max():g} mm",
                "one distance above 0 for all views",
            )
        distances.append(float(found.mean()))
    to_axis, to_detector = distances[0], sum(distances)
    column_mm = pixel_mm * to_detector / to_axis
    return {
        "column_mm": column_mm,
        "row_mm": column_mm,
        "source_to_axis_mm": to_axis,
        "source_to_detector_mm": to_detector,
    }


def _check_stage(streams: _Streams, n_views: int, pixel_mm: float) -> None:
    """Raise InputError for a sample that moves along the axis during the scan."""
    heights = streams.numbers("ImageInfo/YPosition", n_views)
    if heights is None or np.ptp(heights) * MICROMETRES <= MOVED_PIXELS * pixel_mm:
        return
    raise InputError(
        f"{streams.path} has a sample that moves by {np.ptp(heights):g} micrometres along the "
        "axis.",
        "one circle",
        "a VectorGeometry made view by view, in Python (docs/tutorials/own-geometry.md)",
    )


def _reference(streams: _Streams, shape: tuple[int, int]) -> np.ndarray | None:
    """The frame without a sample, where the file has one."""
    if not streams.ole.exists("ReferenceData/Image"):
        return None
    number = int(streams.needed("ReferenceData/DataType", kind="<i4")[0])
    if number not in NUMBERS:
        raise streams.wrong(f"has a reference of DataType {number}", "5 (uint16) or 10 (float32)")
    return streams.image("ReferenceData/Image", NUMBERS[number], shape).astype(np.float32)


def _views(
    streams: _Streams,
    options: ReadOptions,
    n_views: int,
    shape: tuple[int, int],
    reference: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None, Values, tuple[str, ...]]:
    """The views that are taken, the flat where they are not divided by it, what they are, and what
    to know of them.
    """
    number = int(streams.needed("ImageInfo/DataType", kind="<i4")[0])
    if number not in NUMBERS:
        raise streams.wrong(f"has views of DataType {number}", "5 (uint16) or 10 (float32)")
    names = [f"ImageData{i // VIEWS_A_FOLDER + 1}/Image{i + 1}" for i in range(n_views)]
    shifts = _shifts(streams, n_views)
    if shifts is not None and reference is None:
        raise streams.wrong(
            "has views that its alignment moves, and no reference",
            "the reference in the file, by which views are divided before they are moved",
        )
    rows, columns = options.window.of_detector(*shape)
    picked = range(n_views)[options.window.views]
    size = (len(picked), rows.stop - rows.start, columns.stop - columns.start)
    data = np.empty(size, np.float32)
    for place, view in enumerate(picked):
        frame = streams.image(names[view], NUMBERS[number], shape)
        if shifts is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                frame = _moved(frame / reference, *shifts[view])
        data[place] = frame[rows, columns]
    if shifts is None:
        flats = None if reference is None else reference[None, rows, columns]
        return data, flats, options.values or "counts", ()
    largest = int(np.abs(shifts).max())
    note = f"the alignment moves views by up to {largest} pixels, which are rounded to whole ones"
    return data, None, "transmission", (note,)


def _shifts(streams: _Streams, n_views: int) -> np.ndarray | None:
    """By how many columns and rows every view is moved, (view, 2); None where none is."""
    found = [streams.numbers(f"Alignment/{axis}-Shifts", n_views) for axis in "XY"]
    zero = np.zeros(n_views)
    shifts = np.stack([zero if one is None else one for one in found], axis=1).round()
    if np.abs(shifts).max() >= 2**15:
        raise streams.wrong(f"moves views by {np.abs(shifts).max():g} pixels", "a few pixels")
    return shifts.astype(int) if shifts.any() else None


def _moved(frame: np.ndarray, right: int, up: int) -> np.ndarray:
    """A frame whose content is moved along columns and rows; what comes in repeats the edge."""
    n_rows, n_columns = frame.shape
    from_rows = np.clip(np.arange(n_rows) - up, 0, n_rows - 1)
    from_columns = np.clip(np.arange(n_columns) - right, 0, n_columns - 1)
    moved: np.ndarray = frame[np.ix_(from_rows, from_columns)]
    return moved


def _notes(
    streams: _Streams, n_views: int, n_taken: int, reference: np.ndarray | None
) -> tuple[str, ...]:
    """What to know of the reading."""
    notes = [
        "no real file of this format was at hand: if the volume is mirrored, reverse_angles turns "
        "it"
    ]
    if n_taken < n_views:
        notes.append(f"the scan was stopped after {n_taken} of {n_views} views")
    exposures = streams.numbers("ImageInfo/ExpTimes", n_taken)
    of_reference = streams.numbers("ReferenceData/ExpTime", 1)
    if reference is not None and exposures is not None and of_reference is not None:
        apart = np.abs(exposures - of_reference).max()
        if apart > SAME_SHARE * abs(of_reference[0]):
            notes.append(
                f"views were exposed for {exposures.min():g} to {exposures.max():g} s and the "
                f"reference for {of_reference[0]:g} s, which is not corrected for"
            )
    return tuple(notes)
