"""Volumes as SimpleITK's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusionblend.data.volume import Volume

if TYPE_CHECKING:
    import SimpleITK


def image_from_volume(volume: Volume) -> SimpleITK.Image:
    """A volume as a SimpleITK image of float32 in HU, with its spacing, origin and direction."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.values)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image
