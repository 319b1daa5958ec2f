"""Folders of frames: what are views, flats and darks, in which order, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from diffusionblend.errors import InputError
from diffusionblend.io.scans.frame_names import in_order, order_notes, sorted_by_kind
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from field_scans import HALF, check_discs, counts_of, fan_lines, parallel_lines, prepared

ARC = {"arc_degrees": 180}


@pytest.mark.parametrize(
    "names",
    [
        ["a_2", "a_10", "a_100"],
        ["p_-90.0", "p_-89.5", "p_-1.0", "p_+0.0", "p_+10.0"],
        ["p_-10.0", "p_-9.5", "p_0.0", "p_2.5"],
        ["scan-001", "scan-002", "scan-010"],
        ["x_-5deg_01", "x_-4deg_02", "x_5deg_20"],
        ["s1-001", "s1-002", "s2-001"],
        ["v0.25", "v0.5", "v1.125", "v10"],
        ["20241105_093015_0001", "20241105_093012_0002", "20241105_093020_0003"],
        ["20241106_000001_0001", "20241105_235959_0002", "20241106_000003_0003"],
        ["0001_9_59_59", "0002_10_0_1", "0003_9_0_3"],
        ["1699172415.25_s3_7", "1699172411.5_s3_8", "1699172499.125_s3_9"],
        ["e0.5_1", "e0.4_2", "e0.5_3", "e0.4_4"],
        ["093017_0001", "093015_0002", "093016_0003"],
        ["p0001_a270", "p0002_a180", "p0003_a090", "p0004_a000"],
    ],
)
def test_order_by_numbers(names):
    paths = [Path(f"{name}.tif") for name in names]
    assert in_order(paths[::-1]) == paths


def test_the_number_that_counts_views_is_reported():
    """As 20241105_093015_0001.tif, where the time is that of writing and does not rise."""
    times = [93015, 93012, 93020, 93018]
    paths = [Path(f"20241105_0{t}_{i:04d}.tif") for i, t in enumerate(times)]
    (note,) = order_notes(paths)
    assert "number 3 of their names (0000" in note and "number 2 (093015)" in note
    assert not order_notes([Path(f"{t}_{i}.tif") for i, t in enumerate(sorted(times))])
    assert not order_notes([Path(f"run{i // 3}_{i % 3}.tif") for i in range(6)])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("scan7_flat_0001.tif", 1),
        ("FlatField-003.TIF", 1),
        ("beforeWhite2.tif", 1),
        ("open_beam.tif", 1),
        ("s_ob_001.tif", 1),
        ("x_darks_1.tif", 2),
        ("dark_flat_1.tif", 2),
        ("DC_001.tif", 2),
        ("tomo_0001.tif", 0),
        ("deflated_0001.tif", 0),
        ("robin_0001.tif", 0),
    ],
)
def test_kinds_by_a_word_of_the_name(name, kind):
    sorted_ = sorted_by_kind([Path(name), Path("zz_1.tif"), Path("zz_2.tif")])
    assert Path(name) in sorted_[kind]


def test_a_word_that_all_names_have_is_ignored():
    views, flats, darks = sorted_by_kind([Path(f"white_rat_{i}.tif") for i in range(4)])
    assert (len(views), flats, darks) == (4, [], [])


# ---- folders


def write(folder, frames, prefix):
    folder.mkdir(exist_ok=True)
    for i, frame in enumerate(frames):
        tifffile.imwrite(folder / f"{prefix}{i:04d}.tif", frame)


@pytest.fixture(scope="module")
def counts():
    return counts_of(parallel_lines(HALF[::2]))


def refused(source, *words, **read):
    with pytest.raises(InputError) as caught:
        read_raw_scan(source, ReadOptions(**read))
    assert "Expected: " in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("named", [{"flats": "*flat*"}, {}, {"views": "*", "darks": "*dark*"}])
def test_flats_are_not_among_the_views(tmp_path, counts, named):
    write(tmp_path, counts["data"], "scan7_tomo_")
    write(tmp_path, counts["flats"], "scan7_flat_")
    write(tmp_path, counts["darks"], "scan7_dark_")
    scan = read_raw_scan(tmp_path, ReadOptions(**ARC, **named))
    assert (len(scan.data), len(scan.flats), len(scan.darks)) == (90, 5, 3)
    check_discs(prepared(tmp_path, {**ARC, **named}), 0.04)


@pytest.mark.parametrize("sample", ["dark-chocolate", "white_mouse", "flatfish"])
def test_samples_whose_names_have_a_word_of_flats_or_darks(tmp_path, counts, sample):
    write(tmp_path, counts["data"], f"{sample}_")
    write(tmp_path, counts["flats"], "flat_")
    write(tmp_path, counts["darks"], "dark_")
    scan = read_raw_scan(tmp_path, ReadOptions(**ARC))
    assert (len(scan.data), len(scan.flats), len(scan.darks)) == (90, 5, 3)
    np.testing.assert_array_equal(scan.data, counts["data"])


def test_patterns_with_a_whole_path(tmp_path, counts):
    write(tmp_path / "scan", counts["data"], "a_")
    write(tmp_path / "refs", counts["flats"], "flat_")
    named = {"views": f"{tmp_path}/scan/a_*.tif", "flats": f"{tmp_path}/refs/flat_*.tif"}
    scan = read_raw_scan(tmp_path / "scan", ReadOptions(**ARC, **named))
    assert (len(scan.data), len(scan.flats)) == (90, 5)


def test_frames_that_flats_corrected_are_views(tmp_path, counts):
    write(tmp_path / "Flatfield_corrected", counts["data"], "a_")
    assert read_raw_scan(tmp_path, ReadOptions(**ARC)).flats is None
    write(tmp_path / "flats", counts["flats"], "b_")
    scan = read_raw_scan(tmp_path, ReadOptions(**ARC))
    assert (len(scan.data), len(scan.flats)) == (90, 5)


def test_angles_of_flats_and_darks_in_the_list_are_named(tmp_path, counts):
    np.savetxt(tmp_path / "all.txt", np.r_[np.zeros(8), np.degrees(HALF[::2])])
    said = "98 angles, as many as with those of 5 flats and 3 darks"
    np.savez(tmp_path / "scan.npz", **counts)
    refused(tmp_path / "scan.npz", said, angles=tmp_path / "all.txt")
    for kind, frames in counts.items():
        write(tmp_path / "tiff", frames, f"{kind}_")
    refused(tmp_path / "tiff", said, angles=tmp_path / "all.txt")


def test_names_with_signed_angles(tmp_path, counts):
    for degrees, frame in zip(np.degrees(HALF[::2]) - 90, counts["data"], strict=True):
        tifffile.imwrite(tmp_path / f"p_{degrees:+.1f}.tif", frame)
    write(tmp_path, counts["flats"], "flat_")
    write(tmp_path, counts["darks"], "dark_")
    done = prepared(tmp_path, ARC)
    np.testing.assert_allclose(read_raw_scan(tmp_path, ReadOptions(**ARC)).data[0],
                               counts["data"][0])  # fmt: skip
    check_discs(done, 0.04)


@pytest.mark.parametrize(
    "named",
    [{}, {"flats": "flats", "darks": "darks"}, {"flats": "fl*", "darks": "darks/*.tif"}],
)
@pytest.mark.parametrize("views", ["tomo", "."])
def test_frames_in_folders_of_their_own(tmp_path, counts, named, views):
    write(tmp_path / views, counts["data"], "tomo_")
    write(tmp_path / "flats", counts["flats"], "a_")
    write(tmp_path / "darks", counts["darks"], "b_")
    stated = {"views": f"{views}/*.tif"} if named and views != "." else {}
    scan = read_raw_scan(tmp_path, ReadOptions(**ARC, **named, **stated))
    assert (len(scan.data), len(scan.flats), len(scan.darks)) == (90, 5, 3)
    np.testing.assert_array_equal(scan.data, counts["data"])
    np.testing.assert_array_equal(scan.flats, counts["flats"])


def test_views_in_several_folders_are_not_mixed(tmp_path, counts):
    write(tmp_path / "first", counts["data"], "tomo_")
    write(tmp_path / "second", counts["data"], "tomo_")
    refused(tmp_path, "in 2 folders: first, second", "views='first/*.tif'", **ARC)


def test_two_places_of_one_name(tmp_path, counts, monkeypatch):
    write(tmp_path / "scan", counts["data"], "tomo_")
    write(tmp_path / "scan" / "flats", counts["flats"], "a_")
    write(tmp_path / "flats", counts["flats"] * 2, "a_")
    monkeypatch.chdir(tmp_path)
    refused(Path("scan"), "two flats", "scan/flats", flats="flats", **ARC)
    monkeypatch.chdir(tmp_path / "scan")
    assert len(read_raw_scan(Path(), ReadOptions(flats="flats", **ARC)).flats) == 5


def test_missing_double_and_odd_views(tmp_path, counts):
    write(tmp_path, counts["data"], "tomo_")
    write(tmp_path, counts["flats"], "flat_")
    (tmp_path / "._tomo_0003.tif").write_bytes(b"left by another system")
    assert len(read_raw_scan(tmp_path, ReadOptions(**ARC)).data) == 90
    np.savetxt(tmp_path / "angles.txt", np.degrees(HALF[::2][np.arange(90) != 57]))
    (tmp_path / "tomo_0057.tif").rename(tmp_path / "away")
    refused(tmp_path, "no view number 57 between 0 and 89", "or angles", **ARC)
    listed = ReadOptions(angles=tmp_path / "angles.txt")
    assert len(read_raw_scan(tmp_path, listed).data) == 89
    (tmp_path / "away").rename(tmp_path / "tomo_57.tif")
    assert len(read_raw_scan(tmp_path, ReadOptions(**ARC)).data) == 90
    tifffile.imwrite(tmp_path / "tomo_57.tiff", counts["data"][57])
    refused(tmp_path, "tomo_57.tif and tomo_57.tiff are the same view", **ARC)
    (tmp_path / "tomo_57.tiff").rename(tmp_path / "tomo_0056 (copy).tif")
    refused(tmp_path, "1 named otherwise, such as tomo_0056 (copy).tif", "flats and", **ARC)


def test_numbers_that_flats_have_between_views_are_not_missing(tmp_path, counts):
    for i, frame in enumerate(counts["data"]):
        tifffile.imwrite(tmp_path / f"{i + i // 30 + 1:04d}_tomo.tif", frame)
    for i in range(2):
        tifffile.imwrite(tmp_path / f"{31 * (i + 1):04d}_white.tif", counts["flats"][i])
    scan = read_raw_scan(tmp_path, ReadOptions(**ARC))
    assert (len(scan.data), len(scan.flats)) == (90, 2)


def test_frames_of_other_formats_are_named(tmp_path):
    (tmp_path / "view_1.edf").write_bytes(b"x")
    refused(tmp_path, "has no TIFF frames; it has files .edf", "convert them to TIFF", **ARC)
    (tmp_path / "p.nrrd").write_bytes(b"x")
    refused(tmp_path / "p.nrrd", "as .mha", rtk_geometry=tmp_path / "g.xml")


# ---- sinograms


def test_a_sinogram_in_one_page(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    values = np.exp(-fan_lines(angles, 200)[:, 0]).astype(np.float32)
    tifffile.imwrite(tmp_path / "sinogram.tif", values)
    read = {"values": "transmission", "arc_degrees": 360}
    refused(tmp_path / "sinogram.tif", "one page of 240 rows", "sinograms=True", **read)
    fan = {"geometry": "fan", "column_mm": 1.0, "source_to_axis_mm": 431.0,
           "source_to_detector_mm": 529.0}  # fmt: skip
    check_discs(prepared(tmp_path / "sinogram.tif", {**read, "sinograms": True}, fan))


@pytest.mark.parametrize("flats_as_frames", [False, True])
def test_a_folder_of_sinograms(tmp_path, flats_as_frames):
    counts = counts_of(parallel_lines(HALF[::2], rows=4))
    for row in range(4):
        tifffile.imwrite(tmp_path / f"sino_{row}.tif", counts["data"][:, row])
        if not flats_as_frames:
            tifffile.imwrite(tmp_path / f"flat_{row}.tif", counts["flats"][:, row])
            tifffile.imwrite(tmp_path / f"dark_{row}.tif", counts["darks"][:, row])
    if flats_as_frames:
        write(tmp_path, counts["flats"], "flat_")
        write(tmp_path, counts["darks"], "dark_")
    scan = read_raw_scan(tmp_path, ReadOptions(**ARC, sinograms=True, rows=(1, 4), every=2))
    np.testing.assert_array_equal(scan.data, counts["data"][::2, 1:])
    np.testing.assert_array_equal(scan.flats, counts["flats"][:, 1:])
    np.testing.assert_array_equal(scan.darks, counts["darks"][:, 1:])
    assert (scan.first_row, scan.detector_shape) == (1, (4, 128))


@pytest.mark.parametrize("pattern", ["p_{:02x}.tif", "scan2_{:03X}.tif", "a{:04x}.tiff"])
def test_hexadecimal_numbers(pattern):
    names = [Path(pattern.format(i)) for i in range(8, 60)]
    assert in_order(names[::-1]) == names


def test_letters_that_are_no_digits():
    names = [Path(name) for name in ("a2b.tif", "a10b.tif", "a10c.tif")]
    assert in_order(names[::-1]) == names
    same_length = [Path(name) for name in ("s1_1.tif", "s1_2.tif", "s2_1.tif")]
    assert in_order(same_length[::-1]) == same_length
