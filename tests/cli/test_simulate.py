from __future__ import annotations

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.geometry import ConeBeam, FanBeam, Helix, full_detector, truncated_fraction
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.runs.record import read_run_record
from diffusionblend.units import MU_WATER_PER_MM
from small_scan import dense_system


def test_a_scan_holds_the_line_integrals_and_their_geometry(cli, tmp_path, chest_file):
    output = tmp_path / "scan.h5"
    result = cli("simulate", chest_file, "-o", output, "--views", 5, "--arc-degrees", 90)
    assert_succeeded(result)
    scan, volume = read_projections(output), read_volume(chest_file)
    np.testing.assert_allclose(np.degrees(scan.geometry.angles_rad), [0, 18, 36, 54, 72])
    assert scan.geometry.n_columns == full_detector((16, 16)) == 23
    assert scan.geometry.column_mm == volume.grid.spacing_mm[2]
    assert scan.grid == volume.grid
    mu = np.maximum(MU_WATER_PER_MM * (1 + volume.values.astype(np.float64) / 1000), 0)
    lines = dense_system(scan.geometry, scan.grid) @ mu.reshape(len(mu), -1).T
    by_hand = lines.reshape(5, 23, -1).transpose(0, 2, 1)
    np.testing.assert_allclose(scan.values, by_hand, rtol=1e-4, atol=1e-5)
    assert "5 views x 8 rows x 23 columns" in result.out
    assert "no noise (--photons 1e6 adds it)" in result.out and "flatters" in result.out
    assert "none: no noise was added" in cli("projections", "info", output).out
    assert str(chest_file) not in str(scan.notes)


def test_noise_is_that_of_its_seed_and_its_photons(cli, tmp_path, chest_file, scan_file):
    def noisy(name, *options):
        path = tmp_path / name
        assert_succeeded(cli("simulate", chest_file, "-o", path, "--views", 6, *options))
        return read_projections(path).values

    clean = read_projections(scan_file).values
    first = noisy("1.h5", "--photons", 1e4, "--seed", 3)
    np.testing.assert_array_equal(noisy("2.h5", "--photons", 1e4, "--seed", 3), first)
    assert not np.array_equal(noisy("3.h5", "--photons", 1e4, "--seed", 4), first)
    # Beer's law: a count of N has the standard deviation sqrt(N), so its logarithm 1 / sqrt(N)
    expected = np.sqrt(np.mean(np.exp(clean) / 1e4))
    assert np.std(first - clean) == pytest.approx(expected, rel=0.15)
    assert read_run_record(tmp_path / "1.h5.run.json").seed == 3


@pytest.mark.parametrize("options", [("fan",), ("fan", "--curved"), ("cone",)], ids=str)
def test_a_fan_or_a_cone_sees_all_of_the_volume(cli, tmp_path, chest_file, scan_file, options):
    output = tmp_path / "scan.h5"
    distances = ("--source-to-axis-mm", 500, "--source-to-detector-mm", 800)
    command = ("simulate", chest_file, "-o", output, "--views", 4, "--arc-degrees", 360)
    assert_succeeded(cli(*command, "--geometry", *options, *distances))
    scan, volume = read_projections(output), read_volume(chest_file)
    assert type(scan.geometry) is (ConeBeam if options == ("cone",) else FanBeam)
    assert getattr(scan.geometry, "curved", False) == ("--curved" in options)
    assert scan.geometry.source_to_axis_mm == 500
    assert scan.geometry.column_mm == pytest.approx(volume.grid.spacing_mm[2] * 1.6)
    assert truncated_fraction(scan.geometry, volume.grid) == 0
    parallel = read_projections(scan_file)
    assert scan.values.max() == pytest.approx(parallel.values.max(), rel=0.3)


@pytest.mark.parametrize(("kind", "arc"), [("parallel", 180), ("fan", 360), ("cone", 360)])
def test_the_default_arc_is_that_of_the_geometry(cli, tmp_path, chest_file, kind, arc):
    output = tmp_path / "scan.h5"
    assert_succeeded(cli("simulate", chest_file, "-o", output, "--views", 4, "--geometry", kind))
    angles = np.degrees(read_projections(output).geometry.angles_rad)
    np.testing.assert_allclose(angles, np.arange(4) * arc / 4)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--geometry", "cone", "--source-to-axis-mm", 20), "corners"),
        (("--geometry", "fan", "--source-to-detector-mm", "nan"), "source-to-detector-mm is nan"),
        (("--source-to-axis-mm", 500), "parallel beam was asked for with --source-to-axis-mm 500"),
        (("--source-to-detector-mm", 800), "--source-to-detector-mm 800"),
        (("--electronic-counts", 5), "without photons"),
        (("--geometry", "cone", "--curved"), "--geometry cone"),
        (("--views", 0), "0 views"),
        (("--arc-degrees", "nan"), "nan degrees"),
        (("--arc-degrees", 400), "400.0 degrees"),
        (("--photons", "inf"), "inf photons"),
        (("--photons", 1e30), "1e+30 photons"),
        (("--photons", 0), "0.0 photons"),
        (("--photons", 1e5, "--electronic-counts", "nan"), "nan counts"),
        (("--mu-water-per-mm", "nan"), "nan per mm"),
        (("--mu-water-per-mm", -1), "-1.0 per mm"),
        (("--mu-water-per-mm", 20.59), "in 1/mm"),
        (("--electronic-counts", -1), "-1.0 counts"),
        (("--seed", -1), "seed is -1"),
        (("--oversample", 0), "--oversample is 0"),
        (("--oversample", -2), "--oversample is -2"),
    ],
)
def test_no_scan_has_such_numbers(cli, tmp_path, chest_file, options, word):
    result = cli("simulate", chest_file, "-o", tmp_path / "scan.h5", *options)
    assert result.code == 1
    assert word in result.err
    assert "Expected:" in result.err
    assert_nothing_in(tmp_path)


def test_bad_volumes_and_names_are_refused(cli, tmp_path, chest_file):
    chest = read_volume(chest_file)
    out = tmp_path / "out" / "scan.h5"
    truncated = tmp_path / "truncated.nii.gz"
    truncated.write_bytes(chest_file.read_bytes()[:-100])
    assert_refused(cli("simulate", truncated, "-o", out), "truncated")
    raw = tmp_path / "raw.nrrd"
    write_volume(chest.with_values(chest.values + 1024), raw)
    assert_refused(cli("simulate", raw, "-o", out), "not in HU")
    assert_refused(cli("simulate", chest_file, "-o", out.with_suffix(".npy")), ".h5")
    assert_nothing_in(out.parent)


def test_a_scan_is_not_overwritten_without_force(cli, tmp_path, chest_file):
    output = tmp_path / "scan.h5"
    output.write_bytes(b"precious")
    assert_refused(cli("simulate", chest_file, "-o", output), "exists already", "--force")
    assert output.read_bytes() == b"precious"
    assert_succeeded(cli("simulate", chest_file, "-o", output, "--force"))
    assert read_projections(output).geometry.n_views == 8


def test_a_full_disk_is_reported_and_nothing_stays(cli, small_disk, chest_file):
    arguments = ("simulate", chest_file, "-o", small_disk / "scan.h5", "--views", 500)
    assert_refused(cli(*arguments), "the disk is full")
    assert_nothing_in(small_disk)


def test_a_helix_measures_a_volume_that_every_method_reconstructs(cli, tmp_path, chest_file):
    output, found = tmp_path / "helix.h5", tmp_path / "fbp.nii.gz"
    given = ("--views", 40, "--pitch-mm", 12, "--detector-rows", 8, "--start-degrees", 30)
    spots = ("--curved", "--flying-spot-mm", 0.5, 0.4)
    command = ("simulate", chest_file, "-o", output, "--geometry", "helix", *given)
    assert_succeeded(cli(*command, *spots))
    scan = read_projections(output)
    helix = scan.geometry
    assert type(helix) is Helix and helix.curved and helix.n_rows == 8 and helix.pitch_mm == 12
    turned = np.degrees(helix.angles_rad)
    assert turned[0] == pytest.approx(30) and turned[40] == pytest.approx(390)
    assert helix.spot_offsets_mm[0] == (0.5, 0.0, 0.4)
    assert helix.spot_offsets_mm[1] == (-0.5, 0.0, -0.4)
    assert "Helix" in cli("projections", "info", output).out
    assert_succeeded(cli("reconstruct", output, "--method", "fbp", "-o", found))
    apart = read_volume(found).values - read_volume(chest_file).values
    middle = apart[:, 4:-4, 4:-4]
    assert (
        np.sqrt(np.mean(middle**2)) < 250
    )  # HU, of 16 pixels across, bones half as wide as a pixel


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pitch-mm", 5), "--pitch-mm was given with --geometry parallel"),
        (("--geometry", "helix", "--arc-degrees", 180), "no arc"),
        (("--geometry", "helix", "--pitch-mm", 0), "pitch is 0"),
        (("--geometry", "helix", "--row-mm", "nan"), "--row-mm is nan"),
        (("--geometry", "cone", "--curved"), "fan or helix"),
    ],
)
def test_options_of_no_helix_are_refused(cli, tmp_path, chest_file, options, said):
    result = cli("simulate", chest_file, "-o", tmp_path / "scan.h5", *options)
    assert_refused(result)
    assert said in result.err
    assert_nothing_in(tmp_path)


def test_pixels_that_do_not_divide_into_coarser_ones_are_told(cli, tmp_path, chest_file):
    scan = tmp_path / "scan.h5"
    result = cli("simulate", chest_file, "-o", scan, "--photons", 1e5, "--oversample", 3)
    assert_succeeded(result)
    size = read_volume(chest_file).grid.shape[2]
    assert size % 3
    assert f"their first {size - size % 3} rows" in result.out
    assert read_projections(scan).grid.shape[2] == size // 3
