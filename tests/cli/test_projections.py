"""`projections import` and `projections info`, from files to a reconstruction in 1/mm."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analytic import Ellipse
from command_line import assert_nothing_in, assert_refused, assert_succeeded
from diffusionblend.geometry import FanBeam
from diffusionblend.io.projections import read_projections
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.runs.record import read_run_record
from measured_scan import OBJECT, half_scan, lines_of, scan_of, write_data_exchange

ANGLES = half_scan(90)
SCAN = scan_of(lines_of(ANGLES, centre_column=29.3), ANGLES)
PIXEL = ("--column-mm", 0.5)


@pytest.fixture
def source(tmp_path):
    return write_data_exchange(tmp_path / "source.h5", SCAN)


@pytest.fixture
def scan(cli, source, tmp_path):
    output = tmp_path / "scan.h5"
    assert_succeeded(cli("projections", "import", source, "-o", output, *PIXEL))
    return output


def test_import_reports_what_it_found_and_keeps_a_record(cli, source, tmp_path):
    data = SCAN.data.copy()
    data[3, 1, 20] = 0
    data[4, 2, 30] = np.nan
    flats = SCAN.flats.copy()
    flats[:, 0, 5] = 0
    write_data_exchange(source, SCAN, data=data, data_white=flats)
    output = tmp_path / "scan.h5"
    result = cli("projections", "import", source, "-o", output, *PIXEL)
    assert_succeeded(result)
    assert "read 90 views x 3 rows x 64 columns of counts" in result.out
    assert "1 dead pixel(s), 1 zero or negative count(s), 1 NaN or infinite" in result.out
    found = float(result.out.split("axis of rotation at column ")[1].split()[0])
    assert found == pytest.approx(29.3, abs=0.15)
    record = read_run_record(tmp_path / "scan.h5.run.json")
    assert record.command == "projections import"
    assert record.results["correction"]["dead_pixels"] == 1
    scan = read_projections(output)
    assert scan.geometry.column_mm == 0.5 and scan.notes["source"] == "measured"
    np.testing.assert_allclose(scan.values, lines_of(ANGLES, centre_column=29.3), atol=0.06)


def test_import_takes_a_part_with_settings(cli, source, tmp_path):
    output = tmp_path / "part.h5"
    options = ("--rows", 1, 3, "--columns", 6, 60, "--every", 3, "--binning", 1, 2)
    options += ("--centre-column", 29.3, "--size", 20, "--mu-water-per-mm", 0.03)
    assert_succeeded(cli("projections", "import", source, "-o", output, *PIXEL, *options))
    scan = read_projections(output)
    assert scan.values.shape == (30, 2, 27)
    assert scan.grid.shape == (2, 20, 20) and scan.mu_water_per_mm == 0.03
    at_axis = np.interp(0.0, scan.geometry.column_positions_mm, np.arange(27))
    assert at_axis == pytest.approx((29.3 - 6 - 0.5) / 2)


def test_an_import_comes_again_from_its_record(cli, scan, tmp_path):
    again = tmp_path / "again.h5"
    assert_succeeded(cli("repeat", tmp_path / "scan.h5.run.json", "-o", again))
    first, second = read_projections(scan), read_projections(again)
    np.testing.assert_array_equal(second.values, first.values)
    assert (second.geometry, second.grid) == (first.geometry, first.grid)


def test_a_reconstruction_in_attenuation(cli, scan, tmp_path):
    """Columns of 0.5 mm hold objects of half the size, of twice the attenuation."""
    for unit, name in (("1/mm", "mu"), ("hu", "hu")):
        options = ("--method", "fbp", "--output-unit", unit)
        output = tmp_path / f"{name}.nii.gz"
        assert_succeeded(cli("reconstruct", scan, "-o", output, *options))
    mu = read_volume(tmp_path / "mu.nii.gz", check=False)
    hu = read_volume(tmp_path / "hu.nii.gz", check=False)
    assert mu.grid == hu.grid
    np.testing.assert_allclose(mu.values, 0.02059 * (1 + hu.values / 1000), atol=1e-6)
    truth = sum(e.picture(mu.grid.in_plane_shape, (1, 1)) for e in OBJECT)
    inside = truth > 0.0199
    assert mu.values[2][inside].mean() == pytest.approx(2 * truth[inside].mean(), rel=0.03)
    assert_refused(
        cli("evaluate", tmp_path / "mu.nii.gz", "--reference", tmp_path / "hu.nii.gz",
            "-o", tmp_path / "e.json"),
        "not in HU",
        "--output-unit hu",
    )  # fmt: skip


def test_samples_in_attenuation(cli, tmp_path, scan_file, tiny_prior):
    options = ("--prior", tiny_prior, "--device", "cpu", "--steps", 2, "--samples", 2)
    found = {}
    for unit in ("hu", "1/mm"):
        output = tmp_path / f"{unit[0]}.nii.gz"
        assert_succeeded(
            cli("reconstruct", scan_file, "-o", output, *options, "--output-unit", unit)
        )
        spread = tmp_path / f"{unit[0]}.sd.nii.gz"
        found[unit] = [read_volume(p, check=False).values for p in (output, spread)]
    mean, deviation = found["1/mm"]
    np.testing.assert_allclose(mean, 0.02059 * (1 + found["hu"][0] / 1000), atol=1e-5)
    np.testing.assert_allclose(deviation, 0.02059 * found["hu"][1] / 1000, atol=1e-5)


def test_info_of_projections(cli, scan, scan_file):
    result = cli("projections", "info", scan)
    assert_succeeded(result)
    for words in ("ParallelBeam", "90, 3, 64", "measured", "0.02059", "pairs and wedge", "none:"):
        assert words in result.out
    facts = json.loads(cli("projections", "info", scan, "--json").out)
    assert facts["views_rows_columns"] == [90, 3, 64]
    assert facts["angle_step_degrees"] == 2.0
    assert facts["column_mm"] == 0.5
    assert "simulated" in cli("projections", "info", scan_file).out


def test_info_of_a_measured_scan(cli, source):
    facts = json.loads(cli("projections", "info", source, "--json").out)
    assert facts["kind"] == "measured scan, uncorrected: counts"
    assert (facts["flat_frames"], facts["dark_frames"], facts["zero_or_negative"]) == (2, 2, 0)
    low, _, high = facts["lowest_median_highest"]
    assert low == pytest.approx(SCAN.data.min(), rel=1e-3)
    assert high == pytest.approx(SCAN.data.max(), rel=1e-3)


def test_info_of_what_is_damaged_or_nothing(cli, scan, tmp_path):
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) // 2])
    assert_refused(cli("projections", "info", scan), "could not be read")
    assert_refused(cli("projections", "info", tmp_path / "none.h5"), "There is no", "check")


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, (), ("width of its detector columns", "--column-mm")),
        ({"theta": ANGLES}, PIXEL, ("look like radians", "--angle-unit radians")),
        ({}, (*PIXEL, "--angle-unit", "radians", "--centre-column", 70), ("at column 70",)),
        ({"data_white": None}, PIXEL, ("no flat frames", "--flats")),
        ({"data": SCAN.data * 0}, PIXEL, ("View 0 contains no valid pixel",)),
        ({"data": SCAN.data * np.nan}, PIXEL, ("View 0 contains no valid pixel",)),
        ({"data": SCAN.data - 20_000}, PIXEL, ("at or below the dark frame", "crop")),
        ({"data": SCAN.data[:, :, :60]}, PIXEL, ("flats have (3, 64)", "(3, 60)")),
        ({"theta": np.degrees(ANGLES)[1:]}, PIXEL, ("90 views and 89 angles",)),
        ({}, (*PIXEL, "--values", "lines"), ("go up to", "take the logarithm")),
        ({}, (*PIXEL, "--values", "transmission"), ("as bright as", "--values counts")),
        ({}, (*PIXEL, "--columns", 60, 70), ("columns 60 to 70", "of 64")),
        ({}, (*PIXEL, "--geometry", "cone"), ("distances of a cone", "--source-to-axis-mm")),
        ({}, (*PIXEL, "--ring-columns", 4), ("over 4 columns",)),
    ],
)
def test_what_cannot_be_imported(cli, source, tmp_path, changes, options, words):
    write_data_exchange(source, SCAN, **changes)
    output = tmp_path / "out" / "scan.h5"
    result = cli("projections", "import", source, "-o", output, *options)
    assert result.code == 1
    assert "Expected: " in result.err and "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err
    assert_nothing_in(output.parent)


def test_outputs_are_not_overwritten(cli, source, scan):
    command = ("projections", "import", source, "-o")
    assert_refused(cli(*command, scan, *PIXEL), "exists already", "--force")
    assert_succeeded(cli(*command, scan, *PIXEL, "--force"))
    assert_refused(cli(*command, source, *PIXEL, "--force"), "also an input")
    assert_refused(cli("projections", "import", scan, "-o", "a.h5"), "projections file already")
    assert_refused(cli(*command, scan.with_suffix(".npy"), *PIXEL), ".h5")


def test_subcommands_explain_themselves(cli):
    text = cli("projections", "import", "--help").out
    for word in ("Data Exchange", "--air-columns", "0.02059", "(default: "):
        assert word in text
    assert "projections file" in cli("projections", "info", "--help").out
    assert cli("projections").code == 2


def test_a_disc_of_the_challenge_is_a_fan(cli, shared_data, tmp_path):
    """The full scan's FBP against the picture supplied, whose y points up."""
    from diffusionblend.io.scans.htc2022 import read_matlab

    folder = shared_data / "projections" / "htc2022"
    output = tmp_path / "disc.h5"
    options = ("--size", 128, "--pixel-mm", 0.5932893, "--binning", 1, 4, "--every", 4)
    source = folder / "htc2022_04b_full.mat"
    assert_succeeded(cli("projections", "import", source, "-o", output, *options))
    assert isinstance(read_projections(output).geometry, FanBeam)
    volume = tmp_path / "disc.nii.gz"
    assert_succeeded(cli("reconstruct", output, "-o", volume, "--method", "fbp"))
    found = read_volume(volume, check=False).values[0]
    reference = read_matlab(folder / "htc2022_04b_recon_fbp.mat")["reconFullFbp"][::-1]
    coarse = reference.reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.corrcoef(found.ravel(), coarse.ravel())[0, 1] > 0.99


def test_the_object_is_not_symmetric():
    """Or mirrored pictures would pass."""
    picture = sum(e.picture((64, 64), (1, 1)) for e in OBJECT)
    assert isinstance(OBJECT[0], Ellipse)
    for mirrored in (picture[::-1], picture[:, ::-1], picture.T):
        assert np.corrcoef(mirrored.ravel(), picture.ravel())[0, 1] < 0.95


def test_rays_through_metal_are_left_out_or_interpolated(cli, tmp_path, chest_file):
    chest = read_volume(chest_file)
    values = chest.values.copy()
    values[3:5, 7:9, 6:9] = 9000.0
    source, scan = tmp_path / "metal.nii.gz", tmp_path / "metal.h5"
    write_volume(chest.with_values(values), source)
    assert_succeeded(cli("simulate", source, "-o", scan, "--views", 30))
    for name, options in (("out.h5", ()), ("filled.h5", ("--interpolate",))):
        result = cli("projections", "metal", scan, "-o", tmp_path / name, *options)
        assert_succeeded(result)
        assert "voxels above 3000 HU" in result.out
    left_out, filled = (read_projections(tmp_path / n) for n in ("out.h5", "filled.h5"))
    assert 0 < (~left_out.measured).mean() < 0.5 and filled.measured is None
    np.testing.assert_array_equal(left_out.values, filled.values)
    assert "rays_left_out" in cli("projections", "info", tmp_path / "out.h5").out
    refused = cli("projections", "metal", scan, "-o", tmp_path / "b.h5", "--threshold-hu", 1e6)
    assert_refused(refused, "No voxel of a first reconstruction")
