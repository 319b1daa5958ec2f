"""The cache of training volumes: built once, kept whole, rebuilt where it is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.data.resample import to_square_slices
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.volumes import find_volumes, read_volume, write_volume
from diffusionblend.training import cache as cache_module
from diffusionblend.training.cache import INDEX_FILE, VolumeCache
from diffusionblend.training.dataset import VolumeBank, whole_hu

SIZE = 8


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with two volumes and a file that is none."""
    folder = tmp_path / "volumes"
    rng = np.random.default_rng(0)
    for name, shape, z_mm in (("b.nii.gz", (4, 16, 16), 2.5), ("a.mha", (5, 12, 16), 0.8)):
        grid = Grid(shape=shape, spacing_mm=(z_mm, 1.0, 1.0))
        write_volume(Volume(rng.normal(-200, 400, shape), grid), folder / name)
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the volumes that were read, in turn."""
    from diffusionblend.io import volumes

    read = []

    def noted(path: Path) -> Volume:
        read.append(path.name)
        return original(path)

    original = volumes.read_volume
    monkeypatch.setattr(volumes, "read_volume", noted)
    return read


def cached(folder: Path, source: Path, size: int = SIZE) -> list[cache_module.CachedVolume]:
    return VolumeCache(folder, size).volumes(find_volumes(source))


def assert_right(folder: Path, source: Path) -> None:
    """The cache gives what the files hold, with the same fingerprint as in memory."""
    found = cached(folder, source)
    volumes = [to_square_slices(read_volume(p), SIZE) for p in find_volumes(source)]
    assert [v.name for v in found] == ["a.mha", "b.nii.gz"]
    assert [v.slice_spacing_mm for v in found] == pytest.approx([0.8, 2.5])
    assert [v.pixel_mm for v in found] == pytest.approx([2.0, 2.0])  # twice the files'
    for got, expected in zip(found, volumes, strict=True):
        assert isinstance(got.values, np.memmap)
        np.testing.assert_array_equal(got.values, whole_hu(expected))
    arrays, spacings = [v.values for v in found], [v.slice_spacing_mm for v in found]
    bank = VolumeBank.of_arrays(arrays, spacings, block_slices=3)
    assert bank.fingerprint() == VolumeBank.of(volumes, block_slices=3).fingerprint()


def test_volumes_are_read_once(source: Path, tmp_path: Path, reads: list[str]) -> None:
    folder = tmp_path / "cache"
    assert_right(folder, source)
    assert reads == ["a.mha", "b.nii.gz"]
    hashed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "sha256_of", hashed.append)
        cached(folder, source)
    assert reads == ["a.mha", "b.nii.gz"] and not hashed
    cached(folder, source, size=4)
    assert len(reads) == 4
    assert_right(folder, source)
    assert len(reads) == 4


def test_a_moved_or_touched_volume_is_known_by_its_content(
    source: Path, tmp_path: Path, reads: list[str]
) -> None:
    folder = tmp_path / "cache"
    cached(folder, source)
    source = source.rename(tmp_path / "elsewhere")
    os.utime(source / "a.mha", ns=(1, 1))
    for file in folder.glob("*.npy"):
        os.utime(file, ns=(1, 1))
    assert_right(folder, source)
    assert len(reads) == 2


def test_a_cache_that_does_not_state_the_pixels_is_made_anew(
    source: Path, tmp_path: Path, reads: list[str]
) -> None:
    cached(tmp_path / "cache", source)
    index = json.loads((tmp_path / "cache" / INDEX_FILE).read_text())
    for entry in index["volumes"].values():
        del entry["pixel_mm"]
    (tmp_path / "cache" / INDEX_FILE).write_text(json.dumps(index))
    reads.clear()
    assert_right(tmp_path / "cache", source)
    assert reads[:2] == ["a.mha", "b.nii.gz"]


def test_a_changed_volume_is_read_again(source: Path, tmp_path: Path, reads: list[str]) -> None:
    folder = tmp_path / "cache"
    cached(folder, source)
    volume = read_volume(source / "a.mha")
    write_volume(volume.with_values(volume.values + 7), source / "a.mha", force=True)
    assert_right(folder, source)
    assert reads == ["a.mha", "b.nii.gz", "a.mha"]


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "flip", "index", "index cut"])
def test_what_is_damaged_is_made_anew(
    source: Path, tmp_path: Path, reads: list[str], damage: str
) -> None:
    folder = tmp_path / "cache"
    cached(folder, source)
    file = sorted(folder.glob("*.npy"))[0]
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "index":
        (folder / INDEX_FILE).unlink()
    elif damage == "index cut":
        (folder / INDEX_FILE).write_text((folder / INDEX_FILE).read_text()[:-20])
    else:
        content[-5] ^= 1
        file.write_bytes({"cut": content[:-9], "empty": b"", "flip": content}[damage])
    assert_right(folder, source)
    assert len(reads) == (4 if "index" in damage else 3)


def test_an_interrupted_build_goes_on(source: Path, tmp_path: Path, reads: list[str]) -> None:
    folder = tmp_path / "cache"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        VolumeCache(folder, SIZE).volumes(find_volumes(source), stop)
    assert reads == ["a.mha"]
    assert_right(folder, source)
    assert reads == ["a.mha", "b.nii.gz"]


def test_the_cache_contains_nothing_of_a_patient(source: Path, tmp_path: Path) -> None:
    cached(tmp_path / "cache", source)
    index = json.loads((tmp_path / "cache" / INDEX_FILE).read_text())
    assert set(index) == {"format", "sources", "volumes", "sha256"}
    for entry in index["volumes"].values():
        assert set(entry) == {"slice_spacing_mm", "pixel_mm", "slices", "sha256", "stamp"}


def test_a_bad_volume_leaves_nothing(source: Path, tmp_path: Path) -> None:
    (source / "a.mha").write_bytes((source / "a.mha").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.mha"):
        cached(tmp_path / "cache", source)
    assert not (tmp_path / "cache").exists()


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no volumes"):
            find_volumes(folder)
