"""The pages of one TIFF file as its header says that they are: sample format, orientation, tiles.

tifffile finds the pages and decodes them; what the tags say is settled here, since libraries leave
it, or guess. SimpleITK decodes LZW, for which tifffile would need another package.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable, silent_libraries
from diffusionblend.io.foreign.edge import COPY_AGAIN
from diffusionblend.io.foreign.limits import check_claim

if TYPE_CHECKING:
    import tifffile

TIFF_SUFFIXES = (".tif", ".tiff")
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE = 0, 1, 2, 3
GREY = (MIN_IS_WHITE, MIN_IS_BLACK)
SEPARATE_PLANES = 2
LZW = 5
SAMPLE_FORMAT = 339
ORIENTATION = 274
LEAST_ODD_INTEGER = 1 << 28
"""Whole numbers of 32 bits that are all above, without a tag for it, are likely bits of floats."""
MOST_LIKELY_FLOAT = 1e8
READ_ERRORS = (ValueError, IndexError, KeyError, TypeError, OSError, EOFError, RuntimeError) + (
    struct.error,
    zlib.error,
    MemoryError,
)
"""What tifffile raises on foreign and damaged files (its own error is a ValueError)."""


@dataclass(frozen=True, eq=False)
class TiffPages:
    """All frames of a TIFF file, (frame, row, column), top left first, in the file's own type.

    white_at_zero: the header says that 0 is white (MinIsWhite); the numbers are as stored. note:
    what a person should know of the file, or nothing.
    """

    frames: np.ndarray
    white_at_zero: bool = False
    note: str = ""


def read_tiff(path: Path) -> TiffPages:
    """All frames of a TIFF file. Raises InputError for what is not grey, or is not all there."""
    check_readable(path)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise InputError(
            f"{path} is not TIFF by its name.",
            "a file .tif or .tiff",
            "rename it where only its ending is wrong",
        )
    try:
        with _complaints() as complaints, _opened(path) as tif:
            series = _series(tif, path)
            page = series.keyframe
            _check_kind(page, path)
            _check_whole(series, path)
            check_claim(path, series.size * series.dtype.itemsize, what="pixels")
            frames, note = _frames(series, path)
            if complaints:
                raise ValueError(complaints[0])
            upright = _upright(frames, _tag(page, ORIENTATION, 1), path)
            white = page.photometric == MIN_IS_WHITE
            return TiffPages(np.ascontiguousarray(upright), white, note)
    except READ_ERRORS as error:
        raise InputError(
            f"{path} could not be read as TIFF: {error}.",
            "a whole TIFF file",
            COPY_AGAIN,
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """A TIFF file, its own pages alone where its description reaches into other files."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        pages = [page for series in tif.series for page in series.pages if page is not None]
        if all(page.parent is tif for page in pages):
            yield tif
            return
    with tifffile.TiffFile(path, is_ome=False, is_mmstack=False) as tif:
        yield tif


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What tifffile logs as an error of the file, instead of raising it."""
    found: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


def _series(tif: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The one series of frames, without reduced pictures of it. Raises InputError for several."""
    whole = [s for s in tif.series if not s.keyframe.is_reduced]
    if not whole:
        raise ValueError("it holds no pages")
    if len(whole) > 1:
        shapes = ", ".join(str(s.shape) for s in whole[:3])
        raise InputError(
            f"{path} holds pages of {len(whole)} kinds, of the shapes {shapes}.",
            "frames of one size and type",
            "take the others out; views, flats and darks in files of their own",
        )
    return whole[0]


def _check_kind(page: Any, path: Path) -> None:
    """Raises InputError where a page is not grey, or its numbers are none."""
    samples, planes = page.samplesperpixel, page.planarconfig == SEPARATE_PLANES
    photometric = getattr(page.photometric, "name", page.photometric)
    grey = "grey frames, as the detector counted"
    if page.photometric == PALETTE:
        raise InputError(
            f"{path} has a table of colours (a palette).", grey, "save it anew in grey"
        )
    if page.photometric not in GREY and not (page.photometric == RGB and samples >= 3):
        raise InputError(
            f"{path} is of the photometric kind {photometric}.", grey, "save it anew in grey"
        )
    if page.photometric in GREY and samples > 1 and not planes:
        raise InputError(f"{path} has {samples} numbers a pixel.", grey, "a file for each of them")
    if page.dtype is None or page.dtype.kind not in "fiu":
        bits = page.bitspersample
        raise InputError(
            f"{path} has {bits} bits a sample of the format {_tag(page, SAMPLE_FORMAT, 1)}.",
            "whole numbers of 8 to 64 bits, or floats of 16 to 64",
            "save it anew with one of these",
        )


def _check_whole(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Raises InputError where the file ends before the data that its header lists."""
    size = path.stat().st_size
    wanted, empty = 0, 0
    for page in series.pages:
        if page is None:
            continue
        ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True)]
        wanted, empty = max(wanted, *ends), empty + page.databytecounts.count(0)
    if series.dataoffset is not None:  # one after the other, listed or not
        wanted = max(wanted, series.dataoffset + series.nbytes)
    if wanted > size or empty:
        raise InputError(
            f"{path} has {size} bytes, and its pages reach to byte {wanted}"
            f"{f'; {empty} of their parts are empty' if empty else ''}.",
            "a whole TIFF file",
            COPY_AGAIN,
        )


def _frames(series: tifffile.TiffPageSeries, path: Path) -> tuple[np.ndarray, str]:
    """The numbers (frame, row, column) as they are stored, and a note on them."""
    page, note = series.keyframe, ""
    axes = series.get_axes(squeeze=False) if hasattr(series, "get_axes") else series.axes
    array = _decoded(series, path)
    shape = series.get_shape(squeeze=False) if hasattr(series, "get_shape") else series.shape
    array = array.reshape(shape)
    if "S" in axes and page.samplesperpixel > 1:
        array, axes, note = _without_samples(array, axes, page, path)
    elif "S" in axes:
        array, axes = array.squeeze(axes.index("S")), axes.replace("S", "")
    leading = {a: n for a, n in zip(axes[:-2], array.shape, strict=False) if n > 1}
    if axes[-2:] != "YX" or len(leading) > 1:
        raise InputError(
            f"{path} holds {dict(zip(axes, array.shape, strict=True))} by its own axes.",
            "one axis of frames, then rows (Y) and columns (X)",
            "save the views as a plain stack, one page a view",
        )
    frames = array.reshape(-1, *array.shape[-2:])
    listed = len(series.pages) if all(p is not None for p in series.pages) else 1
    if len(frames) > 1 and listed == 1 and page.samplesperpixel == 1:
        note = f"{path.name} lists one page and holds {len(frames)} frames, which are taken"
    _check_bits(frames, page, path)
    return frames, note


def _decoded(series: tifffile.TiffPageSeries, path: Path) -> np.ndarray:
    """The numbers of all pages. Raises InputError for a compression that cannot be undone."""
    page = series.keyframe
    try:
        return series.asarray(maxworkers=1)
    except (ValueError, NotImplementedError, ImportError) as error:
        if page.compression == LZW and not page.is_tiled and _tag(page, ORIENTATION, 1) == 1:
            return _by_simpleitk(path, series.dtype, series.size)
        if "imagecodecs" not in str(error) and not isinstance(error, NotImplementedError):
            raise
        kind = getattr(page.compression, "name", page.compression)
        raise InputError(
            f"{path} has {page.bitspersample} bits a sample, compressed by {kind}"
            f"{', in tiles' if page.is_tiled else ''}, which needs the package imagecodecs.",
            "TIFF without compression, or by deflate, packbits or LZW in strips",
            "pip install imagecodecs, and give the command again; or 'tiffcp -c none -s'",
        ) from error


def _by_simpleitk(path: Path, dtype: np.dtype, size: int) -> np.ndarray:
    """The numbers as SimpleITK decodes them. Raises InputError where they are of another type."""
    import SimpleITK as sitk

    with silent_libraries():
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    if array.dtype != dtype.newbyteorder("=") or array.size != size:
        raise InputError(
            f"{path} holds {size} numbers of {dtype} by its header, and {array.size} of "
            f"{array.dtype} as they are decoded.",
            "TIFF whose header and data agree",
            "pip install imagecodecs, and give the command again; or 'tiffcp -c none'",
        )
    return array


def _without_samples(
    array: np.ndarray, axes: str, page: Any, path: Path
) -> tuple[np.ndarray, str, str]:
    """Grey frames of pages of several samples: planes as frames, or colours that are all alike.

    With the remaining axes, and a note.
    """
    at = axes.index("S")
    left = axes.replace("S", "")
    if page.photometric in GREY:  # in planes of their own: a stack in one page
        others = [n for a, n in zip(axes, array.shape, strict=True) if a not in "SYX"]
        if all(n == 1 for n in others):
            frames = np.moveaxis(array, at, 0).reshape(array.shape[at], *array.shape[-2:])
            note = f"{path.name} holds {len(frames)} planes in a page, which are taken as frames"
            return frames, "QYX", note
    colours = np.moveaxis(array, at, 0)[:3]
    if page.photometric == RGB and (colours == colours[:1]).all():
        return colours[0], left, f"{path.name} is stored as colours that are all grey"
    raise InputError(
        f"{path} is in colour.", "grey frames, as the detector counted", "save it anew in grey"
    )


def _upright(frames: np.ndarray, orientation: int, path: Path) -> np.ndarray:
    """Frames (frame, row, column) with the first row at the top and the first column left.

    orientation: TIFF's tag 274. Raises InputError for an unknown one.
    """
    flips = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)}
    flips |= {5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    if orientation not in flips:
        raise InputError(
            f"{path} has the orientation {orientation}.",
            "a number from 1 to 8",
            COPY_AGAIN,
        )
    turned = frames.swapaxes(1, 2) if orientation > 4 else frames
    rows, columns = flips[orientation]
    return turned[:, ::rows, ::columns]


def _check_bits(frames: np.ndarray, page: Any, path: Path) -> None:
    """Raises InputError where whole numbers look like the bits of floats, and no tag says which."""
    if SAMPLE_FORMAT in page.tags or frames.dtype not in (np.uint32, np.uint64):
        return
    if not (frames.size and frames.max() > LEAST_ODD_INTEGER):
        return
    as_floats = frames.view(np.dtype(f"{frames.dtype.byteorder}f{frames.dtype.itemsize}"))
    likely = np.isfinite(as_floats).all() and np.abs(as_floats).max() < MOST_LIKELY_FLOAT
    if likely and np.median(frames[frames > 0]) > LEAST_ODD_INTEGER:
        bits = page.bitspersample
        raise InputError(
            f"{path} does not say what its {bits} bits a sample are: as whole numbers they go up "
            f"to {frames.max()}, as floats from {as_floats.min():.4g} to {as_floats.max():.4g}.",
            "the tag SampleFormat: 1 for whole numbers, 3 for floats",
            f"'tiffset -s {SAMPLE_FORMAT} 3' on the files, if they are floats",
        )


def _tag(page: Any, number: int, default: int) -> int:
    """A tag's one number; its default where the page lacks it."""
    found = page.tags.get(number)
    value = default if found is None else found.value
    return int(value[0] if isinstance(value, tuple) else value)
