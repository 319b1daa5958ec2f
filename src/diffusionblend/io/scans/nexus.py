"""Measured scans in NeXus files of the definition NXtomo (Diamond, ISIS, ESRF)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.foreign.edge import WRITE_ANEW
from diffusionblend.io.scans.hdf5 import (
    find_dataset,
    missing_reason,
    open_hdf5,
    text_attribute,
)
from diffusionblend.io.scans.hdf5_lengths import nexus_distances
from diffusionblend.io.scans.lengths import mm_per_unit
from diffusionblend.io.scans.nexus_beam import to_one_beam, translation_notes, unused_monitor
from diffusionblend.io.scans.options import (
    DARK_KEY,
    FLAT_KEY,
    PROJECTION_KEY,
    ReadOptions,
    chosen_angles,
    split_by_key,
)

if TYPE_CHECKING:
    import h5py

DEFINITION = "NXtomo"
DETECTOR = "instrument/detector"
DATA, KEY = f"{DETECTOR}/data", f"{DETECTOR}/image_key"
CONTROL = f"{DETECTOR}/image_key_control"
"""As the key, but -1 for views at angles measured before, taken to see whether the object moved."""
ALIGNMENT_KEY, NO_KEY = -1, 3
FLIPS = ("x_flipped", "y_flipped")
ANGLES = "sample/rotation_angle"
PIXEL_SIZES = {"column_mm": "x_pixel_size", "row_mm": "y_pixel_size"}
TRANSFORMATIONS = "sample/transformations"
"""Where newer files have the angles, as an axis of the kind "rotation"."""


def read_nexus(path: Path | str, options: ReadOptions) -> RawScan:
    """A scan from an NXtomo entry, its flat and dark frames identified by the image key.

    Raises InputError where there is no such entry, or its frames lie in another file that is not
    here.
    """
    path = Path(path)
    with open_hdf5(path, f"a NeXus file of the definition {DEFINITION}") as file:
        entry = _entry(file, path)
        data = find_dataset(entry, DATA, (3,))
        if data is None:
            raise InputError(
                f"{path} has no frames: {missing_reason(entry, DATA)}.",
                f"{entry.name}/{DATA} in the file",
                "put that file in its place; or, for a folder of TIFF frames, "
                f"import the folder with --image-key {path.name}",
            )
        notes = _other_entries(file, entry)
        own, unit = _own_angles(entry)
        angles = chosen_angles(options, path, len(data), own, unit)
        if KEY in entry or options.image_key is not None:
            keys = (
                _keys(entry, path)
                if options.image_key is None
                else read_image_key(options.image_key)[0]
            )
            if options.image_key is None:
                keys = _without_alignment(entry, keys, notes)
            angles, kinds = split_by_key(keys, angles, len(data), path)
        else:
            kinds = {PROJECTION_KEY: np.arange(len(data))}
            _check_without_key(entry, path, options)
            notes.append(f"{path.name} has no image key: all its frames are taken as views")
        notes += _flip_notes(entry)
        rows, columns = options.window.of_detector(*data.shape[1:])
        taken = {key: numbers for key, numbers in _taken(kinds, options).items() if len(numbers)}
        frames = {k: data[i, rows, columns] for k, i in taken.items()}
        frames, beam_notes = to_one_beam(frames, taken, entry, len(data), options)
        sizes = _pixel_sizes(entry, notes)
        distances, distance_notes = nexus_distances(entry) if options.vectors is None else ({}, [])
        notes += [*beam_notes, *distance_notes]
        if options.vectors is None:
            views = kinds[PROJECTION_KEY]
            notes += translation_notes(entry, views, len(data), sizes.get("column_mm"))
        return RawScan(
            data=frames[PROJECTION_KEY],
            values=options.values or "counts",
            angles_rad=angles[options.window.views],
            flats=frames.get(FLAT_KEY),
            darks=frames.get(DARK_KEY),
            facts={"format": f"NeXus {DEFINITION}"},
            column_mm=sizes.get("column_mm"),
            row_mm=sizes.get("row_mm"),
            source_to_axis_mm=distances.get("source_to_axis_mm"),
            source_to_detector_mm=distances.get("source_to_detector_mm"),
            notes=tuple(notes),
            **options.window.place(*data.shape[1:]),
        )


def _check_without_key(entry: h5py.Group, path: Path, options: ReadOptions) -> None:
    """Raises InputError where counts have neither an image key nor flats from elsewhere."""
    if options.values in (None, "counts") and options.flats is None and options.white_level is None:
        raise InputError(
            f"{path} has no image key, {entry.name}/{KEY}, which marks views, flats and darks.",
            "a key for every frame (0 view, 1 flat, 2 dark)",
            "--values transmission or --values lines, if all frames are views that are corrected "
            "already; "
            "--flats FILES; or --white-level",
        )


def is_nexus_tomography(path: Path | str) -> bool:
    """Whether an HDF5 file has an entry of the definition NXtomo."""
    with open_hdf5(path, "an HDF5 file") as file:
        return _find_entry(file) is not None


def read_image_key(path: Path | str) -> tuple[np.ndarray, np.ndarray | None, str | None]:
    """The image key of an NXtomo file, and its rotation angles with their unit, if it has them."""
    path = Path(path)
    with open_hdf5(path, f"a NeXus file of the definition {DEFINITION}") as file:
        entry = _entry(file, path)
        return _keys(entry, path), *_own_angles(entry)


def notes_of_key(path: Path | str) -> list[str]:
    """Sentences on what an NXtomo file, of which the key is used, says of frames elsewhere."""
    path = Path(path)
    with open_hdf5(path, f"a NeXus file of the definition {DEFINITION}") as file:
        entry = _entry(file, path)
        return unused_monitor(entry, len(_keys(entry, path)))


def _entry(file: h5py.File, path: Path) -> h5py.Group:
    found = _find_entry(file)
    if found is None:
        raise InputError(
            f"{path} has no entry of the definition {DEFINITION}.",
            f"a group with {DATA}, {KEY} and {ANGLES}",
            "another file, or its arrays as .npy with --angles",
        )
    return found


def _find_entry(file: h5py.File) -> h5py.Group | None:
    """The first of the entries, None where there is none."""
    return next(iter(_entries(file)), None)


def _entries(file: h5py.File) -> list[h5py.Group]:
    """The groups that have the image key of NXtomo, else call themselves so, else have frames and
    angles; at most two levels down.
    """
    groups = [
        group
        for first in _groups_in(file)
        for group in (first, *_groups_in(first))
        if DETECTOR in group
    ]
    for fits in (
        lambda group: KEY in group,
        lambda group: _definition(group) == DEFINITION,
        lambda group: DATA in group and ANGLES in group,
    ):
        found = [group for group in groups if fits(group)]
        if found:
            return found
    return []


def _other_entries(file: h5py.File, entry: h5py.Group) -> list[str]:
    """A sentence on further scans of a file, which are not read."""
    others = [group.name for group in _entries(file) if group != entry]
    if not others:
        return []
    return [
        f"the file has {len(others) + 1} entries with frames; {entry.name} was read, and not "
        f"{', '.join(others[:3])}"
    ]


def _groups_in(group: h5py.Group) -> list[h5py.Group]:
    """The groups directly below one that can be opened."""
    import h5py

    found = [group.get(name) for name in group]
    return [one for one in found if isinstance(one, h5py.Group)]


def _definition(group: h5py.Group) -> str | None:
    """What a group says that it is."""
    found = group.get("definition")
    value = None if found is None or found.shape not in ((), (1,)) else np.ravel(found[()])[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _keys(entry: h5py.Group, path: Path) -> np.ndarray:
    keys = find_dataset(entry, KEY, (1,))
    if keys is None:
        raise InputError(
            f"{path} has no {entry.name}/{KEY}.",
            "a key for every frame",
            WRITE_ANEW,
        )
    return keys[()].round().astype(int)


def _without_alignment(entry: h5py.Group, keys: np.ndarray, notes: list[str]) -> np.ndarray:
    """The keys, in which views that were taken again for comparison are none."""
    control = find_dataset(entry, CONTROL, (1,)) if CONTROL in entry else None
    if control is None or len(control) != len(keys):
        return keys
    again = (control[()].round() == ALIGNMENT_KEY) & (keys == PROJECTION_KEY)
    if again.any():
        notes.append(
            f"{int(again.sum())} view(s) for alignment, which image_key_control marks, are left out"
        )
    return np.where(again, NO_KEY, keys)


def _flip_notes(entry: h5py.Group) -> list[str]:
    """Sentences on frames that the file says are mirrored, which are taken as they are."""
    found = [entry[f"{DETECTOR}/{name}"] for name in FLIPS if f"{DETECTOR}/{name}" in entry]
    names = [d.name.rsplit("/")[-1] for d in found if np.size(d[()]) == 1 and bool(np.ravel(d)[0])]
    return [
        f"the file has {name}: its frames are mirrored, and so is the volume, which is made of "
        "them as they are"
        for name in names
    ]


def _own_angles(entry: h5py.Group) -> tuple[np.ndarray | None, str | None]:
    """The angles and their unit: the sample's own, else of an axis of rotation of its."""
    found = find_dataset(entry, ANGLES, (0, 1, 2))
    if found is None and TRANSFORMATIONS in entry:
        kind = "transformation_type"
        axes = [a for a in entry[TRANSFORMATIONS].values() if text_attribute(a, kind) == "rotation"]
        many = [a for a in axes if a.size > 1]
        found = find_dataset(entry, many[0].name, (1,)) if len(many) == 1 else None
    return (None, None) if found is None else (np.ravel(found), text_attribute(found, "units"))


def _taken(kinds: dict[int, np.ndarray], options: ReadOptions) -> dict[int, np.ndarray]:
    """The frames to read of each kind: every N-th view, all flats and darks."""
    return kinds | {PROJECTION_KEY: kinds[PROJECTION_KEY][options.window.views]}


def _number(entry: h5py.Group, where: str) -> str:
    """A number with its unit, in words."""
    values = np.ravel(entry[where][()])
    shown = f"{float(values[0]):g}" if len(values) else "none"
    return f"{shown} {text_attribute(entry[where], 'units') or ''}".strip()


def _pixel_sizes(entry: h5py.Group, notes: list[str]) -> dict[str, float]:
    """The sizes of a pixel in mm, where they and their unit are given; notes get what is odd."""
    found: dict[str, float] = {}
    for name, pixel in PIXEL_SIZES.items():
        of_sample, of_detector = f"sample/{pixel}", f"{DETECTOR}/{pixel}"
        where = of_sample if of_sample in entry else of_detector
        if of_sample in entry and of_detector in entry:
            notes.append(
                f"{of_sample} ({_number(entry, of_sample)}) was taken, what a pixel covers of the "
                f"sample, and not {of_detector} ({_number(entry, of_detector)})"
            )
        size = entry.get(where)
        if size is None or not np.size(size[()]):
            continue
        unit, value = text_attribute(size, "units"), float(np.ravel(size[()])[0])
        scale = None if unit is None else mm_per_unit(unit)
        if scale is not None and value > 0 and np.ptp(size[()]) == 0:
            found[name] = value * scale
        else:
            given = "without a unit" if unit is None else f"in {unit!r}"
            option = f"--{name.replace('_', '-')}"
            notes.append(f"{where} is {value:g} {given}, which is not used: give {option}")
    return found
