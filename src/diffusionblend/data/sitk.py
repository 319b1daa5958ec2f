"""Volumes from and to SimpleITK's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid

if TYPE_CHECKING:
    import SimpleITK


def volume_from_image(image: SimpleITK.Image, source: Path | str) -> Volume:
    """A SimpleITK image in HU as a volume, turned to LPS.

    Raises InputError for a colour image and for another number of dimensions than 3.
    """
    import SimpleITK as sitk

    components = image.GetNumberOfComponentsPerPixel()
    if components > 1:
        raise InputError(
            f"{source} has {components} components per voxel (a colour image or a vector field).",
            "one CT number per voxel",
            "the CT series itself, not a screenshot or a fused image",
        )
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise InputError(
            f"{source} has {image.GetDimension()} dimensions, size {image.GetSize()}.",
            "a volume of 3 dimensions",
            "a whole series in one file, or one time point of it",
        )
    image = sitk.DICOMOrient(image, "LPS")
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    x, y, z = _without_minus_zero(image.GetOrigin())
    grid = Grid(
        shape=values.shape,
        spacing_mm=image.GetSpacing()[::-1],
        origin_mm=(x, y, z),
        direction=_without_minus_zero(image.GetDirection()),
    )
    return Volume(values, grid)


def image_from_volume(volume: Volume) -> SimpleITK.Image:
    """A volume as a SimpleITK image of float32 in HU, with its spacing, origin and direction."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.values)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


def _without_minus_zero(numbers: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers with -0.0 as 0.0, so that equal grids also print alike."""
    return tuple(float(n) + 0.0 for n in numbers)
