"""OME-Zarr: read by Zarr's own library, and by hand."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from command_line import assert_refused, assert_succeeded
from diffusionblend.data.volume import Volume
from diffusionblend.errors import OutputExistsError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.ome_zarr import write_ome_zarr
from peers import peer


@pytest.fixture
def volume() -> Volume:
    grid = Grid(shape=(3, 4, 5), spacing_mm=(2.5, 0.5, 0.75), origin_mm=(-10.0, 20.0, 30.0))
    return Volume(np.random.default_rng(4).uniform(-1000, 2000, (3, 4, 5)), grid)


def test_values_lie_in_chunks_of_a_slice(tmp_path, volume):
    out = tmp_path / "v.zarr"
    write_ome_zarr(volume, out)
    assert {p.name for p in out.iterdir()} == {".zgroup", ".zattrs", "0"}
    for k in range(3):
        chunk = zlib.decompress((out / "0" / f"{k}.0.0").read_bytes())
        found = np.frombuffer(chunk, "<f4").reshape(4, 5)
        np.testing.assert_array_equal(found, volume.values[k])
    image = json.loads((out / ".zattrs").read_text())["multiscales"][0]
    assert image["version"] == "0.4"
    assert [a["name"] for a in image["axes"]] == ["z", "y", "x"]
    scale, shift = image["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [2.5, 0.5, 0.75] and shift["translation"] == [30.0, 20.0, -10.0]


def test_zarr_reads_it(tmp_path, volume):
    zarr = peer("zarr")
    write_ome_zarr(volume, tmp_path / "v.zarr")
    found = zarr.open_group(str(tmp_path / "v.zarr"), mode="r")
    np.testing.assert_array_equal(found["0"][:], volume.values)
    assert found.attrs["unit"] == "HU"


def test_only_its_own_kind_is_replaced(tmp_path, volume):
    out = tmp_path / "v.zarr"
    write_ome_zarr(volume, out)
    with pytest.raises(OutputExistsError, match="exists already"):
        write_ome_zarr(volume, out)
    write_ome_zarr(volume, out, force=True)
    (out / "notes").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds other things, such as notes"):
        write_ome_zarr(volume, out, force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.zarr"]


def test_the_command_line_writes_zarr_and_pages(cli, tmp_path, chest_file):
    out, pages = tmp_path / "v.zarr", tmp_path / "v.tif"
    result = cli("export", chest_file, "-o", out, "--format", "ome-zarr")
    assert_succeeded(result)
    assert (out / "0" / ".zarray").is_file() and "8 slices (ome-zarr, HU)" in result.out
    assert_succeeded(cli("export", chest_file, "-o", pages, "--format", "tiff"))
    assert pages.is_file()
    assert_refused(cli("export", chest_file, "-o", pages, "--format", "tiff"), "exists already")
    assert_succeeded(cli("export", chest_file, "-o", pages, "--format", "tiff", "--force"))
    result = cli("export", chest_file, "-o", tmp_path / "b", "--format", "ome-zarr", "--views", 8)
    assert result.code == 1 and "--views was given with ome-zarr" in result.err
