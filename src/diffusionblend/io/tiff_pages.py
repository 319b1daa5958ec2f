"""A volume as one TIFF file of many pages, as Fiji opens it with its pixel size and unit."""

from __future__ import annotations

from pathlib import Path

from diffusionblend.data.volume import Volume
from diffusionblend.io.atomic import atomic_output
from diffusionblend.units import unit_of

PAGE_SUFFIXES = (".tif", ".tiff")


def write_tiff_pages(volume: Volume, path: Path | str, *, force: bool = False) -> None:
    """Write a volume (float32, HU or 1/mm) as a page a slice, whole or not at all.

    ImageJ's tags hold spacing and unit; TIFF has no place for origin and direction. Raises
    OutputExistsError, OutputWriteError.
    """
    import tifffile

    sz, sy, sx = volume.grid.spacing_mm
    low, high = float(volume.values.min()), float(volume.values.max())
    with atomic_output(path, force=force) as temporary:
        tifffile.imwrite(
            temporary,
            volume.values,
            imagej=True,
            resolution=(1 / sx, 1 / sy),
            metadata={
                "axes": "ZYX",
                "spacing": sz,
                "unit": "mm",
                "min": low,
                "max": high,
                "Info": f"values in {unit_of(volume.values)}",
            },
        )
