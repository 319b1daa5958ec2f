"""What SimpleITK makes of a volume: its own turning to LPS, to hold ours against."""

from __future__ import annotations

import SimpleITK as sitk

from diffusionblend import Grid, Volume
from diffusionblend.data.sitk import image_from_volume


def volume_of_image(image: sitk.Image) -> Volume:
    """An image in HU as a volume, turned to LPS by SimpleITK."""
    image = sitk.DICOMOrient(image, "LPS")
    values = sitk.GetArrayFromImage(image)
    grid = Grid(
        shape=values.shape,
        spacing_mm=image.GetSpacing()[::-1],
        origin_mm=image.GetOrigin(),
        direction=image.GetDirection(),
    )
    return Volume(values, grid)


def turned_by_simpleitk(volume: Volume) -> Volume:
    """A volume turned to LPS by SimpleITK."""
    return volume_of_image(image_from_volume(volume))
