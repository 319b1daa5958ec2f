"""TIFF stacks: read back here, and slice by slice by another library."""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage.io import imread

from dicom_series import hu_pattern
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, OutputExistsError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.tiff_stack import read_tiff_stack, write_tiff_stack
from diffusionblend.io.volumes import read_volume
from simpleitk_volumes import turned_by_simpleitk

C, S = np.cos(0.2), np.sin(0.2)
OBLIQUE_AND_FLIPPED = (C, -S, 0, S, C, 0, 0, 0, -1)


@pytest.fixture
def volume() -> Volume:
    grid = Grid(
        shape=(5, 6, 7),
        spacing_mm=(2.5, 0.5, 0.75),
        origin_mm=(-10.25, 20.1, 30.5),
        direction=OBLIQUE_AND_FLIPPED,
    )
    return Volume(hu_pattern(5, 6, 7) + 0.25, grid)


def test_values_and_geometry_survive_exactly(tmp_path, volume):
    write_tiff_stack(volume, tmp_path / "out")
    found = read_tiff_stack(tmp_path / "out")
    np.testing.assert_array_equal(found.values, volume.values)
    assert found.grid == volume.grid
    upright = turned_by_simpleitk(volume)
    found = read_volume(tmp_path / "out")
    np.testing.assert_array_equal(found.values, upright.values)
    assert found.grid == upright.grid


def test_other_programs_see_the_slices_in_hu(tmp_path, volume):
    paths = write_tiff_stack(volume, tmp_path / "out")
    for path, values in zip(paths, volume.values, strict=True):
        np.testing.assert_array_equal(imread(path), values)
    facts = json.loads((tmp_path / "out" / "geometry.json").read_text())
    assert facts["spacing_mm_zyx"] == [2.5, 0.5, 0.75] and facts["units"] == "HU"


def test_an_existing_folder_needs_force(tmp_path, volume):
    write_tiff_stack(volume, tmp_path / "out")
    with pytest.raises(OutputExistsError):
        write_tiff_stack(volume, tmp_path / "out")
    write_tiff_stack(volume.with_values(volume.values + 1), tmp_path / "out", force=True)
    np.testing.assert_array_equal(read_tiff_stack(tmp_path / "out").values, volume.values + 1)


def test_what_is_missing_or_foreign_is_refused(tmp_path, volume):
    paths = write_tiff_stack(volume, tmp_path / "out")
    paths[1].write_bytes(paths[1].read_bytes()[:40])
    with pytest.raises(InputError, match=r"slice-0002\.tif"):
        read_volume(tmp_path / "out")
    paths[1].unlink()
    with pytest.raises(InputError, match="There is no"):
        read_volume(tmp_path / "out")
    geometry = tmp_path / "out" / "geometry.json"
    facts = json.loads(geometry.read_text())
    for change in (
        {"layout_version": 2},
        {"shape_zyx": [5, 6]},
        {"slices": ["../secret.tif"] * 5},
        {"spacing_mm_zyx": "wide"},
    ):
        geometry.write_text(json.dumps(facts | change))
        with pytest.raises(InputError, match="TIFF stack"):
            read_volume(tmp_path / "out")
    geometry.write_text("{")
    with pytest.raises(InputError, match="TIFF stack"):
        read_volume(tmp_path / "out")


@pytest.mark.parametrize("side", [60_000, 1_000_000_000])
def test_a_geometry_that_claims_what_the_slices_do_not_hold_is_refused(tmp_path, volume, side):
    write_tiff_stack(volume, tmp_path / "out")
    geometry = tmp_path / "out" / "geometry.json"
    facts = json.loads(geometry.read_text())
    facts["shape_zyx"] = [facts["shape_zyx"][0], side, side]
    geometry.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"claims .* GB of voxels, and holds"):
        read_volume(tmp_path / "out")
