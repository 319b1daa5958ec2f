"""What an NXtomo file says of each frame beside its angle: beam, exposure, place of the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.scans.hdf5 import find_dataset, text_attribute
from diffusionblend.io.scans.lengths import mm_per_unit
from diffusionblend.io.scans.options import DARK_KEY, FLAT_KEY, PROJECTION_KEY, ReadOptions

if TYPE_CHECKING:
    import h5py

MONITOR, EXPOSURE = "control/data", "instrument/detector/count_time"
TRANSLATIONS = tuple(
    f"{of}/{axis}_translation" for of in ("sample", "instrument/detector") for axis in "xyz"
)
TRANSFORMATIONS = "sample/transformations"
STEADY, REPORTED_SHARE = 1e-4, 0.01
"""A beam, or an exposure, that varies by less of its median is steady, or, where
its frames lie elsewhere, not reported."""
FOLLOWS = 0.5
SURE = 0.15
"""Brightness that follows the monitor by less than this power, known to so much, was normalised."""
REPORTED_PIXELS, REFUSED_PIXELS = 0.5, 2.0
BRIGHT_PERCENT = 99.0
MOST_VALUES = 20_000


def to_one_beam(
    frames: dict[int, np.ndarray],
    numbers: dict[int, np.ndarray],
    entry: h5py.Group,
    n_frames: int,
    options: ReadOptions,
) -> tuple[dict[int, np.ndarray], list[str]]:
    """Frames as one beam and one exposure would give them, and what is to be said of that.

    frames: of each key, (frame, row, column). numbers: which frames of the file these are. The
    monitor counts every frame's beam over its exposure (NXtomo, control/data); without a monitor
    that varies, frames are brought to one exposure. Darks stay.
    """
    found = [(name, _of_frames(entry, name, n_frames)) for name in (MONITOR, EXPOSURE)]
    lit = [key for key in (PROJECTION_KEY, FLAT_KEY) if key in frames]
    for name, values in found:
        if values is None:
            continue
        taken = np.concatenate([values[numbers[key]] for key in lit])
        middle = float(np.median(taken))
        if not (np.isfinite(taken).all() and taken.min() > 0):
            return frames, [f"{name} has values of 0 or none at all: it was not used"]
        if np.ptp(taken) <= STEADY * middle:
            continue
        if options.values in ("transmission", "lines"):
            return frames, [f"{name} varies: values that are no counts were left as they are"]
        spread = f"{name} varies by {100 * np.ptp(taken) / middle:.2g} %"
        if not _is_followed(np.concatenate([_brightness(frames[key]) for key in lit]), taken):
            return frames, [f"{spread}, which the frames do not follow: they were left as they are"]
        dark = np.float32(0)
        if DARK_KEY in frames:
            dark = frames[DARK_KEY].mean(axis=0, dtype=np.float32)
        done = dict(frames)
        for key in lit:
            share = (values[numbers[key]] / middle).astype(np.float32)[:, None, None]
            done[key] = dark + (frames[key] - dark) / share
        return done, [f"{spread}: views and flats, less the darks, were divided by it"]
    return frames, []


def unused_monitor(entry: h5py.Group, n_frames: int) -> list[str]:
    """A sentence on a monitor that varies, whose frames lie in other files."""
    values = _of_frames(entry, MONITOR, n_frames)
    if values is None or not np.ptp(values) > REPORTED_SHARE * abs(np.median(values)):
        return []
    return [
        f"{MONITOR} of the image key's file varies by "
        f"{100 * np.ptp(values) / abs(np.median(values)):.2g} %; frames in other files are not "
        "divided by it"
    ]


def translation_notes(
    entry: h5py.Group, views: np.ndarray, n_frames: int, pixel_mm: float | None
) -> list[str]:
    """Sentences on a sample or a detector that moves from view to view, which is not undone.

    views: their numbers. Raises InputError where it moves by more than two pixels.
    """
    notes = []
    moved = entry.get(TRANSFORMATIONS) or {}
    kind = "transformation_type"
    others = [f"{TRANSFORMATIONS}/{n}" for n in moved]
    others = [n for n in others if text_attribute(entry[n], kind) == "translation"]
    for name in (*TRANSLATIONS, *others):
        values = _of_frames(entry, name, n_frames)
        reach = 0.0 if values is None else float(np.ptp(values[views]))
        if not reach > 0:
            continue
        unit = text_attribute(entry[name], "units")
        scale = None if unit is None else mm_per_unit(unit)
        if scale is None or pixel_mm is None:
            notes.append(
                f"{name} varies by {reach:g} {unit or '(no unit)'} over the views, which is not "
                "undone"
            )
            continue
        pixels = reach * scale / pixel_mm
        if pixels > REFUSED_PIXELS:
            raise InputError(
                f"{entry.file.filename} has {name} vary by {reach * scale:g} mm, "
                f"{pixels:.3g} pixels, over the views.",
                "a sample and a detector that stay in place while the sample turns",
                "--vectors, with source and panel of every view; or frames whose shifts are "
                "undone, as TIFF or .npy",
            )
        if pixels > REPORTED_PIXELS:
            notes.append(f"{name} varies by {pixels:.2g} pixels over the views: not undone")
    return notes


def _of_frames(entry: h5py.Group, name: str, n_frames: int) -> np.ndarray | None:
    """A number of every frame; None where there is none, or one for all."""
    found = find_dataset(entry, name, (0, 1, 2)) if name in entry else None
    values = None if found is None else np.ravel(found[()]).astype(np.float64)
    return values if values is not None and len(values) == n_frames else None


def _brightness(frames: np.ndarray) -> np.ndarray:
    """How bright each frame is where it is brightest."""
    stride = max(1, frames[0].size // MOST_VALUES)
    some = frames.reshape(len(frames), -1)[:, ::stride]
    return np.nanpercentile(some, BRIGHT_PERCENT, axis=1)


def _is_followed(brightness: np.ndarray, beam: np.ndarray) -> bool:
    """Whether frames may be as bright as the beam was, and were not brought to one already."""
    good = brightness > 0
    if good.sum() < 3:
        return True
    x, y = np.log(beam[good]), np.log(brightness[good])
    x, y = x - x.mean(), y - y.mean()
    if not (x @ x) > 0:
        return True
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / max(len(x) - 2, 1) / (x @ x)))
    return slope > FOLLOWS or error > SURE
