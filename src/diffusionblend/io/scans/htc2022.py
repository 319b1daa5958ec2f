"""The MATLAB files of the Helsinki Tomography Challenge 2022: 2D fan beam, geometry inside.

Their sinograms are line integrals already. With the angles as they are and x, y as in
docs/conventions.md, volumes come out upside down against the pictures supplied, whose y points up.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import COPY_AGAIN
from diffusionblend.io.scans.options import ReadOptions, chosen_angles

STRUCTS = ("CtDataFull", "CtDataLimited")
PARAMETERS = {
    "column_mm": "pixelSizePost",
    "source_to_axis_mm": "distanceSourceOrigin",
    "source_to_detector_mm": "distanceSourceDetector",
}
FACTS = {"project": "projectName", "scanner": "scanner", "voltage_kv": "voltage", "date": "date"}
READ_ERRORS = (
    NotImplementedError,
    ValueError,
    TypeError,
    IndexError,
    OSError,
    EOFError,
    zlib.error,
)
"""What SciPy raises on damaged files; IndexError before 1.14."""
HDF5_SIGNATURE, HDF5_AT = b"\x89HDF\r\n\x1a\n", (0, 512)
LAYOUT = "a MATLAB file of the challenge, with CtDataFull or CtDataLimited"


def read_htc2022(path: Path | str, options: ReadOptions) -> RawScan:
    """A sinogram with its fan-beam geometry, one row. Raises InputError for any other file."""
    path = Path(path)
    found = read_matlab(path)
    names = [name for name in STRUCTS if name in found]
    if not names:
        held = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
        raise InputError(f"{path} holds {held}.", LAYOUT, "the file whose name ends in _full.mat")
    try:
        sinogram = np.asarray(found[names[0]]["sinogram"], dtype=np.float64)
        parameters = found[names[0]]["parameters"]
        lengths = {name: float(parameters[key]) for name, key in PARAMETERS.items()}
        own = np.asarray(parameters["angles"], dtype=np.float64)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} lacks a part of {names[0]}: {error}.",
            LAYOUT,
            COPY_AGAIN,
        ) from error
    if sinogram.ndim != 2 or parameters.get("distanceUnit", "mm") != "mm":
        raise InputError(
            f"{path} has a sinogram of shape {sinogram.shape}, lengths in "
            f"{parameters.get('distanceUnit')}.",
            "(view, column), and mm",
            COPY_AGAIN,
        )
    angles = chosen_angles(options, path, len(sinogram), own, "degrees")
    _, columns = options.window.of_detector(1, sinogram.shape[1])
    views = options.window.views
    if len(angles) != len(sinogram):
        raise InputError(
            f"{path} has {len(sinogram)} views and {len(angles)} angles.",
            "an angle for every view",
            COPY_AGAIN,
        )
    return RawScan(
        data=sinogram[views, None, columns],
        values="lines",
        angles_rad=angles[views],
        centre_column=(sinogram.shape[1] - 1) / 2 - columns.start,
        **options.window.place(1, sinogram.shape[1]),
        facts={"format": "Helsinki Tomography Challenge 2022"}
        | {name: parameters[key] for name, key in FACTS.items() if key in parameters},
        column_mm=lengths["column_mm"],
        source_to_axis_mm=lengths["source_to_axis_mm"],
        source_to_detector_mm=lengths["source_to_detector_mm"],
    )


def read_matlab(path: Path | str) -> dict[str, Any]:
    """The variables of a MATLAB file (version 5 to 7), structs as mappings. Raises InputError."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    check_readable(path)
    _check_version(path)
    try:
        return loadmat(path, simplify_cells=True)
    except (MatReadError, *READ_ERRORS) as error:
        raise InputError(
            f"{path} could not be read as a MATLAB file: {error}.", LAYOUT, "copy it again"
        ) from error


def _check_version(path: Path | str) -> None:
    """Raises InputError for MATLAB 7.3, which is HDF5, mostly behind 512 bytes of its own."""
    with Path(path).open("rb") as file:
        start = file.read(HDF5_AT[-1] + len(HDF5_SIGNATURE))
    if any(start.startswith(HDF5_SIGNATURE, place) for place in HDF5_AT):
        raise InputError(
            f"{path} is a MATLAB file of version 7.3 (HDF5).",
            "version 5 to 7",
            "save it with '-v7'",
        )
