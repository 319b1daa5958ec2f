"""Measured scans as TIFF frames: a folder of one file a view, or a stack in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffusionblend.data.raw_scan import RawScan, Window
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.scans.nexus import read_image_key
from diffusionblend.io.scans.numpy import read_array
from diffusionblend.io.scans.options import (
    DARK_KEY,
    FLAT_KEY,
    PROJECTION_KEY,
    ReadOptions,
    chosen_angles,
    split_by_key,
)

TIFF_SUFFIXES = (".tif", ".tiff")
FLAT_NAMES, DARK_NAMES = ("flat", "white", "open"), ("dark",)
"""How the names of flat and dark frames begin, in a folder without a pattern for them."""


def read_tiff_projections(source: Path | str, options: ReadOptions) -> RawScan:
    """A scan from a folder of TIFF frames, or from one TIFF file of many pages.

    Frames are taken by the numbers in their names. Names that begin with flat, white or open are
    flats, with dark darks, unless patterns are given. An image key separates the views from flats
    and darks, where the frames, or the list of angles, hold them too. Raises InputError.
    """
    source = Path(source)
    paths = frame_paths(source, options)
    frames = _Frames(paths, options.window)
    keys, own, unit = None, None, None
    if options.image_key is not None:
        keys, own, unit = read_image_key(options.image_key)
    angles = chosen_angles(options, source, len(frames), own, unit)
    kinds = {PROJECTION_KEY: np.arange(len(frames))}
    if keys is not None:
        angles, kinds = split_by_key(keys, angles, len(frames), source)
    views = options.window.views
    if len(angles) != len(kinds[PROJECTION_KEY]):
        raise InputError(
            f"{source} has {len(kinds[PROJECTION_KEY])} view frames, and there are {len(angles)} "
            "angles.",
            "an angle for every view",
            "--image-key FILE, where the list has the angles of flat and dark frames too; "
            "--views 'raw_*.tiff', where the folder has other frames",
        )
    return RawScan(
        data=frames.read(kinds[PROJECTION_KEY][views]),
        values=options.values or "counts",
        angles_rad=angles[views],
        flats=_more(source, FLAT_NAMES, frames, kinds.get(FLAT_KEY), options.window),
        darks=_more(source, DARK_NAMES, frames, kinds.get(DARK_KEY), options.window),
        first_column=options.window.first_column,
        facts={"format": "TIFF frames"},
    )


def frame_paths(source: Path, options: ReadOptions) -> list[Path]:
    """The files of the views (and of flats and darks among them, with an image key), in order."""
    if not source.is_dir():
        check_readable(source)
        return [source]
    if options.views is not None:
        found = [p for p in source.glob(options.views) if p.is_file()]
    else:
        found = [p for p in _tiff_files(source) if not _begins(p, FLAT_NAMES + DARK_NAMES)]
    if not found:
        raise InputError(
            f"{source} has no TIFF frames{f' named {options.views}' if options.views else ''}.",
            "a file .tif or .tiff for every view",
            "--views with a pattern of their names",
        )
    return _in_order(found)


def read_frames(named: str | Path, folder: Path | None, window: Window) -> np.ndarray:
    """Flat or dark frames (frame, row, column): of a TIFF or .npy file, a folder, or a pattern.

    A pattern, and a name that is not found here, are looked for in `folder`. Raises InputError.
    """
    path = Path(named)
    if path.exists():
        found = _in_order(_tiff_files(path)) if path.is_dir() else [path]
    else:
        found = _in_order(p for p in folder.glob(str(named)) if p.is_file()) if folder else []
    if not found:
        raise InputError(
            f"There are no frames {named}, here or in {folder}.",
            "a file, a folder or a pattern of names",
            "check the path; put a pattern in quotes",
        )
    if found[0].suffix.lower() == ".npy":
        frames = read_array(found[0])
        return _windowed(frames[None] if frames.ndim == 2 else frames, window, found[0])
    return _Frames(found, window).read()


def _more(
    source: Path,
    names: tuple[str, ...],
    frames: _Frames,
    by_key: np.ndarray | None,
    window: Window,
) -> np.ndarray | None:
    """Flat or dark frames: those that the image key lists, else those of such names."""
    if by_key is not None and len(by_key):
        return frames.read(by_key)
    found = [p for p in _tiff_files(source) if _begins(p, names)] if source.is_dir() else []
    return _Frames(_in_order(found), window).read() if found else None


class _Frames:
    """Frames in files of one or many pages, read as they are asked for."""

    def __init__(self, paths: Sequence[Path], window: Window) -> None:
        if not paths:
            raise InputError("There are no TIFF frames.", "a file .tif or .tiff for every frame")
        self.paths, self.window = list(paths), window
        self.pages = _read_tiff(self.paths[0]) if len(paths) == 1 else None

    def __len__(self) -> int:
        return len(self.paths) if self.pages is None else len(self.pages)

    def read(self, frames: np.ndarray | None = None) -> np.ndarray:
        """Some frames or all, (frame, row, column). Raises InputError where their sizes differ."""
        if self.pages is not None:
            pages = self.pages if frames is None else self.pages[frames]
            return _windowed(pages, self.window, self.paths[0])
        read, first = [], None
        for path in self.paths if frames is None else [self.paths[i] for i in frames]:
            pages = _read_tiff(path)
            first = pages.shape if first is None else first
            if pages.shape != first or len(pages) > 1:
                raise InputError(
                    f"{path} has the shape {pages.shape}.",
                    f"{(1, *first[1:])}, one frame of the size of {self.paths[0].name}",
                    "--views with a pattern of the names of the views alone",
                )
            read.append(_windowed(pages, self.window, path))
        return np.concatenate(read)


def _windowed(frames: np.ndarray, window: Window, path: Path) -> np.ndarray:
    """The window's rows and columns of whole frames, float32."""
    if frames.ndim != 3 or frames.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds {frames.dtype} of shape {frames.shape}.", "grey frames of numbers"
        )
    rows, columns = window.of_detector(*frames.shape[1:])
    return frames[:, rows, columns].astype(np.float32)


def _read_tiff(path: Path) -> np.ndarray:
    """All pages of a TIFF file, (page, row, column). Raises InputError."""
    import SimpleITK as sitk

    check_readable(path)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise InputError(f"{path} is not TIFF by its name.", "a file .tif or .tiff")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} could not be read as TIFF.", "a whole TIFF file", "copy it again"
        ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{path} is in colour.", "grey frames, as the detector counted")
    pages = sitk.GetArrayFromImage(image)
    return pages[None] if pages.ndim == 2 else pages


def _tiff_files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() in TIFF_SUFFIXES and p.is_file()]


def _begins(path: Path, names: tuple[str, ...]) -> bool:
    return path.name.lower().startswith(names)


def _in_order(paths) -> list[Path]:
    """By the numbers in their names, so that 2 comes before 10."""
    return sorted(paths, key=lambda p: [int(w) if w.isdigit() else w for w in _words(p.name)])


def _words(name: str) -> list[str]:
    """Digits and the rest in turns, always beginning with the rest."""
    return re.split(r"(\d+)", name)
