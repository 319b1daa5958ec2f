"""A volume as OME-Zarr (NGFF 0.4, Zarr 2), which viewers of large images open.

One resolution, chunks of whole slices, zlib; axes z, y, x in millimetres with the origin as a
translation. The direction of the axes has no place in NGFF 0.4 and is kept as an attribute.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.io.atomic import atomic_folder
from diffusionblend.units import unit_of

ZARR_FILES = (".zgroup", ".zattrs", "0/")
"""What such a folder holds."""
ZARR_SUFFIX = ".zarr"
NGFF_VERSION = "0.4"
COMPRESSION_LEVEL = 4


def write_ome_zarr(volume: Volume, folder: Path | str, *, force: bool = False) -> None:
    """Write a volume (float32, HU or 1/mm) as an OME-Zarr image, whole or not at all.

    Raises OutputExistsError, OutputWriteError.
    """
    folder, grid = Path(folder), volume.grid
    with atomic_folder(folder, force=force, kinds=ZARR_FILES) as temporary:
        _write(temporary / ".zgroup", {"zarr_format": 2})
        _write(temporary / ".zattrs", _attributes(volume, folder.stem))
        array = temporary / "0"
        array.mkdir()
        chunks = [1, *grid.in_plane_shape]
        _write(
            array / ".zarray",
            {
                "zarr_format": 2,
                "shape": list(grid.shape),
                "chunks": chunks,
                "dtype": "<f4",
                "compressor": {"id": "zlib", "level": COMPRESSION_LEVEL},
                "fill_value": None,
                "order": "C",
                "filters": None,
                "dimension_separator": ".",
            },
        )
        for k, values in enumerate(volume.values):
            data = np.ascontiguousarray(values, dtype="<f4").tobytes()
            (array / f"{k}.0.0").write_bytes(zlib.compress(data, COMPRESSION_LEVEL))


def _attributes(volume: Volume, name: str) -> dict[str, object]:
    """The multiscales of NGFF 0.4, and what it has no place for."""
    x, y, z = volume.grid.origin_mm
    axes = [{"name": n, "type": "space", "unit": "millimeter"} for n in "zyx"]
    transforms = [
        {"type": "scale", "scale": list(volume.grid.spacing_mm)},
        {"type": "translation", "translation": [z, y, x]},
    ]
    datasets = [{"path": "0", "coordinateTransformations": transforms}]
    return {
        "multiscales": [
            {"version": NGFF_VERSION, "name": name, "axes": axes, "datasets": datasets}
        ],
        "unit": unit_of(volume.values),
        "direction_rows_lps": list(volume.grid.direction),
    }


def _write(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
