"""Packs hold the volumes, to half a step, in little space."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend import Grid, InputError, Volume, write_volume
from pack_volumes import main, read_pack, write_pack

GENEROUS_MB = 10.0


def random_volume(seed: int) -> Volume:
    values = np.random.default_rng(seed).uniform(-1500, 4000, (4, 8, 8))
    return Volume(values, Grid(shape=(4, 8, 8), spacing_mm=(2.5, 1.5, 1.5)))


@pytest.mark.parametrize("step_hu", [1.0, 4.0, 10.0])
def test_a_pack_gives_back_the_clipped_volumes_to_half_a_step(tmp_path, step_hu):
    volumes = {name: random_volume(i) for i, name in enumerate(("b.nii.gz", "a"))}
    path = tmp_path / "pack.npz"
    n_bytes = write_pack(volumes, path, step_hu=step_hu, limit_mb=GENEROUS_MB)
    assert n_bytes == path.stat().st_size
    read = read_pack(path)
    assert list(read) == list(volumes)
    for name, volume in volumes.items():
        clipped = volume.values.clip(-1024, 3071)
        assert np.abs(read[name].values - clipped).max() <= step_hu / 2 + 1e-3
        assert read[name].grid.spacing_mm == volume.grid.spacing_mm
    again = tmp_path / "again.npz"
    write_pack(read, again, step_hu=step_hu, limit_mb=GENEROUS_MB)
    assert again.read_bytes() == path.read_bytes()


def test_a_pack_above_the_limit_is_refused_and_not_left_behind(tmp_path):
    with pytest.raises(InputError, match="a larger step_hu"):
        write_pack({"a": random_volume(0)}, tmp_path / "p.npz", step_hu=1.0, limit_mb=1e-4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step_hu", [0.0, 0.01, float("nan"), float("inf")])
def test_a_step_that_two_bytes_cannot_count_is_refused(tmp_path, step_hu):
    with pytest.raises(InputError, match="step"):
        write_pack({"a": random_volume(0)}, tmp_path / "p.npz", step_hu=step_hu, limit_mb=1.0)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "p.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read as a pack"):
        read_pack(tmp_path / "p.npz")


@pytest.mark.filterwarnings("ignore:.*bright at the edges")
def test_the_command_packs_a_folder_and_says_the_size(tmp_path, capsys):
    folder = tmp_path / "volumes"
    volume = random_volume(1)
    write_volume(volume.with_values(volume.values.clip(None, 3000)), folder / "one.nii.gz")
    pack = tmp_path / "train.npz"
    assert main([str(folder), "-o", str(pack), "--size", "8"]) == 0
    said = capsys.readouterr().out
    assert "1 volumes, 4 slices of 8 x 8, steps of 4 HU" in said and "MB" in said
    assert [v.grid.shape for v in read_pack(pack).values()] == [(4, 8, 8)]
    assert main([str(folder), "-o", str(pack), "--size", "8"]) == 1
    assert "--force" in capsys.readouterr().err
