"""Volumes, projections and raw scans as values: printed in short, sliced, and seen as arrays."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import SimpleITK as sitk

from diffusionblend.data.ensemble import mean_and_deviation
from diffusionblend.data.picture import grey_png
from diffusionblend.data.projections import Projections
from diffusionblend.data.raw_scan import RawScan
from diffusionblend.data.result import Ensemble, Reconstruction
from diffusionblend.data.sitk import image_from_volume
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, Grid, ParallelBeam

TURNED = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
GRID = Grid(
    shape=(5, 6, 7), spacing_mm=(2.5, 0.7, 0.9), origin_mm=(1.0, -2.0, 30.0), direction=TURNED
)


def volume() -> Volume:
    return Volume(np.random.default_rng(0).uniform(-1000, 1800, GRID.shape), GRID)


def scan() -> Projections:
    grid = Grid(shape=(5, 6, 6), spacing_mm=(2.5, 0.7, 0.7))
    geometry = ParallelBeam.fitting(grid, 4)
    values = np.random.default_rng(1).uniform(0.1, 4.0, (4, 5, geometry.n_columns))
    return Projections(values, geometry, grid, 0.02, {"photons": 1e4})


def test_a_volume_prints_its_size_spacing_and_range():
    shown = Volume(np.linspace(-1024, 1873, 210).reshape(GRID.shape), GRID)
    assert repr(shown) == "Volume(5, 6, 7) 2.5 x 0.7 x 0.9 mm, -1024 to 1873 HU"
    empty = Volume(np.full(GRID.shape, np.nan), GRID)
    assert repr(empty).endswith("no finite values")


def test_a_notebook_shows_the_middle_slice():
    from PIL import Image

    shown = volume()
    html = shown._repr_html_()
    assert "5 x 6 x 7" in html and "2.5 x 0.7 x 0.9 mm" in html and "slice 2" in html
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", html)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    expected = np.round(255 * np.clip((shown.values[2] + 1000) / 2000, 0, 1))
    np.testing.assert_array_equal(picture, expected)
    (width, height) = (int(n) for n in re.findall(r'(?:width|height)="(\d+)"', html))
    assert height / width == pytest.approx(6 * 0.7 / (7 * 0.9), abs=0.01)


def test_a_picture_of_one_pixel_and_of_nan():
    from PIL import Image

    picture = grey_png(np.array([[np.nan, 5.0, -5.0]]), 0.0, 1.0)
    assert np.asarray(Image.open(io.BytesIO(picture))).tolist() == [[0, 255, 0]]


@pytest.mark.parametrize(
    "part",
    [
        (slice(1, 4),),
        (slice(None, None, 2),),
        (slice(-2, None), slice(1, 5), slice(2, None, 3)),
        (2,),
        (-1, slice(None), 3),
    ],
    ids=str,
)
def test_a_part_lies_where_it_lay_in_space(part):
    """By SimpleITK, which places every voxel itself."""
    whole = volume()
    some = whole[part if len(part) > 1 else part[0]]
    indices = tuple(slice(i, i + 1 or None) if isinstance(i, int) else i for i in part)
    np.testing.assert_array_equal(some.values, whole.values[indices])
    counts = [np.arange(n) for n in GRID.shape]
    taken = [n[i] for n, i in zip(counts, indices, strict=False)] + counts[len(indices) :]
    ours, theirs = image_from_volume(some), image_from_volume(whole)
    for index in np.ndindex(*some.shape):
        original = [int(n[i]) for n, i in zip(taken, index, strict=True)]
        np.testing.assert_allclose(
            ours.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]),
            theirs.TransformIndexToPhysicalPoint(original[::-1]),
            atol=1e-9,
        )
    assert sitk.GetArrayFromImage(ours).shape == some.shape


def test_slices_one_by_one_and_bad_indices():
    whole = volume()
    slices = list(whole)
    assert len(slices) == len(whole) == 5
    assert slices[3].grid == whole[3:4].grid and slices[3].shape == (1, 6, 7)
    for index in (5, -6):
        with pytest.raises(IndexError, match="5 voxels"):
            whole[index]
    for index in (slice(3, 3), slice(None, None, -1), slice(9, 12)):
        with pytest.raises(InputError, match="were asked for, of 5"):
            whole[index]
    for index in (1.5, "z", None, True, [0, 1]):
        with pytest.raises(InputError, match="An index of a volume"):
            whole[index]
    with pytest.raises(InputError, match="4 indices"):
        whole[0, 0, 0, 0]


def test_a_volume_is_an_array_to_numpy():
    shown = volume()
    assert np.asarray(shown) is shown.values or np.shares_memory(np.asarray(shown), shown.values)
    assert np.asarray(shown, dtype=np.float64).dtype == np.float64
    copied = np.array(shown)
    assert not np.shares_memory(copied, shown.values)
    np.testing.assert_array_equal(copied, shown.values)
    assert np.shares_memory(np.array(shown, copy=False), shown.values)
    with pytest.raises(ValueError, match="without a copy"):
        np.array(shown, dtype=np.float64, copy=False)
    assert float(np.mean(shown)) == pytest.approx(float(shown.values.mean()))


def test_projections_and_raw_scans_print_in_short():
    shown = scan()
    assert repr(shown).startswith("Projections(4, 5, 9) (views, rows, columns) of a ParallelBeam")
    assert "5 x 6 x 6" in repr(shown) and len(repr(shown)) < 160
    raw = RawScan(
        data=np.ones((3, 2, 8)), values="counts", angles_rad=np.arange(3), flats=np.ones((2, 2, 8))
    )
    assert repr(raw) == (
        "RawScan(3, 2, 8) (views, rows, columns) of counts, 2 flat and 0 dark frames"
    )


@pytest.mark.parametrize("views", [slice(None, None, 2), [3, 0], np.array([True, False] * 2)])
def test_some_views_are_a_scan_of_their_angles(views):
    whole = scan()
    some = whole[views]
    np.testing.assert_array_equal(some.values, whole.values[views])
    expected = np.array(whole.geometry.angles_rad)[views]
    assert some.geometry.angles_rad == tuple(expected) and len(some) == len(expected)
    assert (some.grid, some.notes) == (whole.grid, whole.notes)


def test_views_that_are_not_there_are_refused():
    for wrong in (2, (0, 1), [9], slice(4, None), "first", [0.5]):
        with pytest.raises(InputError) as raised:
            scan()[wrong]
        assert raised.value.expected


def test_some_views_of_vectors():
    grid = Grid(shape=(5, 6, 6), spacing_mm=(1, 1, 1))
    geometry = ConeBeam.fitting(grid, 4).to_vectors()
    shape = (4, geometry.n_rows, geometry.n_columns)
    some = Projections(np.ones(shape), geometry, grid, 0.02)[1:3]
    assert some.geometry.sources_mm == geometry.sources_mm[1:3]


def test_results_print_in_a_line():
    result = Reconstruction(volume(), 0.01)
    assert len(repr(result)) < 200 and "Volume(5, 6, 7)" in repr(result)
    ensemble = Ensemble(*mean_and_deviation([volume(), volume()[::1]]))
    assert len(repr(ensemble)) < 250
