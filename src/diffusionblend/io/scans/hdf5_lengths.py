"""Lengths that HDF5 files of scans state: the size of a pixel and the distances of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.io.scans.hdf5 import text_attribute
from diffusionblend.io.scans.lengths import mm_per_unit

if TYPE_CHECKING:
    import h5py

INSTRUMENT = "measurement/instrument"
ON_SAMPLE, ON_DETECTOR = "actual_pixel_size", "pixel_size"
AXES = {"column_mm": "x", "row_mm": "y"}
SOURCE, SOURCE_TYPE, DETECTOR = (
    "instrument/source/distance",
    "instrument/source/type",
    "instrument/detector/distance",
)
TUBES = ("tube", "anode")
"""Words of NeXus' types of sources that are points near the object."""
ON_SAMPLE_OF_NEXUS = "sample/x_pixel_size"


def exchange_pixel_sizes(file: h5py.File) -> tuple[dict[str, float], list[str]]:
    """The sizes of a pixel in mm that a Data Exchange file states, and what is to be said of them.

    That of the sample, else that of the detector over the magnification of its lens, where no
    binning is stated.
    """
    found: dict[str, float] = {}
    notes: list[str] = []
    lens = _number(file, f"{INSTRUMENT}/objective/magnification") or 1.0
    for name, axis in AXES.items():
        on_sample = length_mm(file, f"{INSTRUMENT}/detector/{ON_SAMPLE}_{axis}")
        where = f"{INSTRUMENT}/detector/{ON_DETECTOR}_{axis}"
        on_detector, option = length_mm(file, where), f"--{name.replace('_', '-')}"
        if on_sample is not None:
            found[name] = on_sample
        elif on_detector is None and _number(file, where) is None:
            continue
        elif on_detector is None:
            notes.append(f"{where} has no known unit and is not used: give {option}")
        elif _number(file, f"{INSTRUMENT}/detector/binning_{axis}") not in (None, 1.0):
            notes.append(f"{where} is not used, since binning is stated beside it: give {option}")
        else:
            found[name] = on_detector / lens
            over = f" over the magnification {lens:g}" if lens != 1 else ""
            notes.append(
                f"{where}{over}, {found[name]:g} mm, is taken for what a pixel covers of the "
                f"sample in a parallel beam, and of the detector in a cone ({option})"
            )
    return found, notes


def nexus_distances(entry: h5py.Group) -> tuple[dict[str, float], list[str]]:
    """The distances of an X-ray tube in mm by the names of a RawScan, and what is said of them.

    NXtomo counts both from the sample. Those of other sources, such as a synchrotron's, whose beam
    is parallel, are left out.
    """
    source, detector = length_mm(entry, SOURCE), length_mm(entry, DETECTOR)
    if source is None or detector is None or SOURCE_TYPE not in entry:
        return {}, []
    text = np.ravel(entry[SOURCE_TYPE][()])[0]
    kind = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    if not any(word in kind.lower() for word in TUBES):
        return {}, []
    given = f"{SOURCE} ({abs(source):g} mm) and {DETECTOR} ({abs(detector):g} mm)"
    if ON_SAMPLE_OF_NEXUS in entry:
        return {}, [
            f"{given} are not used, since {ON_SAMPLE_OF_NEXUS} is of the sample: for a cone give "
            "--source-to-axis-mm, --source-to-detector-mm, and --column-mm of the detector"
        ]
    distances = {
        "source_to_axis_mm": abs(source),
        "source_to_detector_mm": abs(source) + abs(detector),
    }
    return distances, [f"{given} of a {kind} are taken for a cone's, from the axis of rotation"]


def length_mm(group: h5py.Group, name: str) -> float | None:
    """A length other than 0 with a known unit, in mm; None of others."""
    value = _number(group, name)
    unit = None if value is None else text_attribute(group[name], "units")
    scale = None if unit is None else mm_per_unit(unit)
    return None if not value or scale is None else value * scale


def _number(group: h5py.Group, name: str) -> float | None:
    """A single finite number; None of anything else."""
    found = group.get(name)
    if found is None or not hasattr(found, "dtype") or found.dtype.kind not in "fiu":
        return None
    values = np.unique(np.ravel(found[()]))
    return float(values[0]) if len(values) == 1 and np.isfinite(values[0]) else None
