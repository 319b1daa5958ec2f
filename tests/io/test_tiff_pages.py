"""TIFF of many pages, read by other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from diffusionblend.data.volume import Volume
from diffusionblend.errors import OutputExistsError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.tiff_pages import write_tiff_pages


def test_pages_have_the_size_of_voxels_and_the_unit(tmp_path):
    grid = Grid(shape=(3, 4, 5), spacing_mm=(2.5, 0.5, 0.8))
    volume = Volume(np.random.default_rng(4).uniform(0, 0.1, (3, 4, 5)), grid)
    path = tmp_path / "a.tif"
    write_tiff_pages(volume, path)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 3
        np.testing.assert_array_equal(file.asarray(), volume.values)
        tags, page = file.imagej_metadata, file.pages[0]
        assert tags["spacing"] == 2.5 and tags["unit"] == "mm" and tags["slices"] == 3
        assert tags["Info"] == "values in 1/mm"
        per_mm = [n / d for n, d in (page.tags[f"{a}Resolution"].value for a in "XY")]
        assert per_mm == pytest.approx([1 / 0.8, 1 / 0.5], rel=1e-5)
    with pytest.raises(OutputExistsError):
        write_tiff_pages(volume, path)


def test_simpleitk_reads_the_pages(tmp_path):
    import SimpleITK as sitk

    volume = Volume(np.arange(60.0).reshape(3, 4, 5), Grid(shape=(3, 4, 5), spacing_mm=(1, 1, 1)))
    write_tiff_pages(volume, tmp_path / "a.tif")
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.tif"))), volume.values
    )
