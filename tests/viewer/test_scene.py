"""What the page is given: whole HU, on one grid, in parts that make up the whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.viewer import scene as scene_module
from diffusionblend.viewer.scene import Scene


def volume(shape=(6, 8, 10), spacing_mm=(2.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0)) -> Volume:
    """HU that grow linearly in the patient, so that resampling can be checked by hand."""
    grid = Grid(shape=shape, spacing_mm=spacing_mm, origin_mm=origin_mm)
    z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    place = [o + s * i for o, s, i in zip(origin_mm, spacing_mm[::-1], (x, y, z), strict=True)]
    return Volume(10 * place[0] + 20 * place[1] - 30 * place[2], grid)


def test_values_are_rounded_to_whole_hu_and_clipped():
    values = volume().values.copy()
    values[0, 0, :4] = (1.4, -1.6, 1e6, -1e6)
    scene = Scene.of({"a": volume().with_values(values)})
    assert scene.volumes["a"].dtype == np.dtype("<i2")
    assert scene.volumes["a"][0, 0, :4].tolist() == [1, -2, 32767, -32768]
    assert np.abs(scene.volumes["a"][1:] - values[1:]).max() <= 0.5


@pytest.mark.parametrize("chunk_bytes", [1, 350, 1 << 20])
def test_the_parts_make_up_the_volume(monkeypatch, chunk_bytes):
    monkeypatch.setattr(scene_module, "CHUNK_BYTES", chunk_bytes)
    scene = Scene.of({"a": volume(), "b": volume().with_values(volume().values + 5)})
    for number, name in enumerate("ab"):
        parts = [bytes(scene.chunk(number, k)) for k in range(scene.n_chunks)]
        whole = np.frombuffer(b"".join(parts), "<i2").reshape(6, 8, 10)
        np.testing.assert_array_equal(whole, scene.volumes[name])
    for bad in ((2, 0), (0, scene.n_chunks)):
        with pytest.raises(IndexError):
            scene.chunk(*bad)


def test_other_grids_are_resampled_with_a_notice():
    fine = volume((12, 16, 20), (1.0, 0.5, 0.5))
    scene = Scene.of({"a": volume(), "fine": fine, "same": volume()})
    (notice,) = scene.notices
    assert "fine (12 x 16 x 20" in notice and "grid of a" in notice
    inner = np.s_[2:-2, 2:-2, 2:-2]
    assert np.abs(scene.volumes["fine"][inner] - volume().values[inner]).max() <= 1
    shifted = volume((6, 8, 10), origin_mm=(4.0, 0.0, 0.0))
    scene = Scene.of({"a": volume(), "shifted": shifted})
    np.testing.assert_allclose(scene.volumes["shifted"][:, :, 4:], volume().values[:, :, 4:])
    assert (scene.volumes["shifted"][:, :, :4] == -1000).all()


def test_the_facts_are_json_and_turn_the_picture_as_the_report_does():
    facts = json.loads(json.dumps(Scene.of({"a": volume()}).facts()))
    assert facts["planes"]["coronal"]["flip_rows"] and not facts["planes"]["axial"]["flip_rows"]
    assert facts["planes"]["sagittal"]["sides"] == ["A", "P", "H", "F"]
    assert facts["reference"] is None and facts["names"] == ["a"]


def test_bad_scenes_are_refused():
    far = volume(origin_mm=(1000.0, 0.0, 0.0))
    nan = volume().values.copy()
    nan[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="do not overlap"):
        Scene.of({"a": volume(), "far": far})
    with pytest.raises(InputError, match="NaN"):
        Scene.of({"a": volume().with_values(nan)})
    with pytest.raises(InputError, match="no volume"):
        Scene.of({})
    with pytest.raises(InputError, match="'b'"):
        Scene.of({"a": volume()}, "b")


# ---- standard deviations


def spread_of(of: Volume, factor: float = 2.0) -> Volume:
    """A deviation that grows linearly along x, in whole HU at the voxels of `volume()`."""
    x = np.broadcast_to(np.arange(of.grid.shape[2]), of.grid.shape)
    return of.with_values(factor * of.grid.spacing_mm[2] * x)


def test_a_deviation_follows_the_volumes_in_the_parts():
    a, b = volume(), volume().with_values(volume().values + 5)
    scene = Scene.of({"a": a, "b": b}, None, {"b": spread_of(b)})
    assert bytes(scene.chunk(2, 0)) == spread_of(b).values.astype("<i2").tobytes()
    with pytest.raises(IndexError):
        scene.chunk(3, 0)
    facts = json.loads(json.dumps(scene.facts()))
    assert facts["names"] == ["a", "b"] and facts["deviations"] == [1]
    assert facts["deviation_limit_hu"] == 20.0  # the largest is 18
    assert Scene.of({"a": a}).facts()["deviations"] == []


def test_a_deviation_is_resampled_with_its_volume_and_0_outside():
    fine = volume((12, 16, 20), (1.0, 0.5, 0.5))
    scene = Scene.of({"a": volume(), "fine": fine}, None, {"fine": spread_of(fine)})
    inner = np.s_[2:-2, 2:-2, 2:-2]
    expected = spread_of(volume()).values[inner]
    assert np.abs(scene.deviations["fine"][inner] - expected).max() <= 1
    shifted = volume(origin_mm=(4.0, 0.0, 0.0))
    scene = Scene.of({"a": volume(), "shifted": shifted}, None, {"shifted": spread_of(shifted)})
    assert (scene.deviations["shifted"][:, :, :4] == 0).all()
    assert (scene.volumes["shifted"][:, :, :4] == -1000).all()


def test_what_is_no_deviation_of_its_volume_is_refused():
    a, other = volume(), volume((6, 8, 9))
    for deviation, word in ((spread_of(other), "do not belong together"), (a, "from -")):
        with pytest.raises(InputError, match=word):
            Scene.of({"a": a}, None, {"a": deviation})
    with pytest.raises(InputError, match="'b'"):
        Scene.of({"a": a}, None, {"b": spread_of(a)})


# ---- volumes in 1/mm


def attenuation(largest: float = 0.12) -> Volume:
    """Values from a little below 0 to `largest`, as a reconstruction in 1/mm has them."""
    values = volume().values
    low, high = values.min(), values.max()
    return volume().with_values((values - low) / (high - low) * largest * 1.1 - 0.1 * largest)


@pytest.mark.parametrize(("largest", "step"), [(0.12, 1e-5), (0.0004, 1e-7), (3.1, 1e-4)])
def test_attenuation_keeps_its_digits_and_its_unit(largest, step):
    scene = Scene.of({"a": attenuation(largest)})
    facts = json.loads(json.dumps(scene.facts()))
    assert (scene.unit, scene.step) == ("1/mm", pytest.approx(step)) and facts["unit"] == "1/mm"
    shown = scene.volumes["a"] * scene.step
    assert np.abs(shown - attenuation(largest).values).max() <= 0.51 * step
    assert facts["digits"] == round(-np.log10(step)) and facts["empty"] == 0
    low, high = facts["windows"]["auto"]
    assert low * step < 0.02 * largest and 0.9 * largest < high * step <= largest
    assert facts["planes"]["axial"]["sides"] == ["−x", "+x", "−y", "+y"]
    assert "1/mm" in scene.notices[0]


def test_outside_of_attenuation_is_nothing():
    away = Grid(shape=(6, 8, 10), spacing_mm=(2.0, 1.0, 1.0), origin_mm=(4.0, 0.0, 0.0))
    shifted = Volume(attenuation().values, away)
    scene = Scene.of({"a": attenuation(), "shifted": shifted})
    assert (scene.volumes["shifted"][:, :, :4] == 0).all()


def test_units_are_not_mixed():
    with pytest.raises(InputError, match=r"a in 1/mm, b in HU"):
        Scene.of({"a": attenuation(), "b": volume()})
