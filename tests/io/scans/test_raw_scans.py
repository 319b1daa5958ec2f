"""Readers of measured scans: what they read, and what they refuse."""

from __future__ import annotations

import warnings
import zipfile

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import is_projections_file, read_raw_scan
from measured_scan import half_scan, lines_of, scan_of, write_data_exchange, write_tiff

ANGLES = half_scan(9)
LINES = lines_of(ANGLES, n_columns=20, centre_column=9.5)
SCAN = scan_of(LINES, ANGLES)
WINDOW = {"rows": (1, 3), "columns": (4, 17), "every": 2}


def refused(source, *words: str, **options) -> None:
    with pytest.raises(InputError) as caught:
        read_raw_scan(source, ReadOptions(**options))
    text = str(caught.value)
    assert "Expected: " in text
    for word in words:
        assert word in text, text


def check(found, atol: float = 0.0) -> None:
    """All of the scan, as it was written."""
    for name in ("data", "flats", "darks"):
        np.testing.assert_allclose(getattr(found, name), getattr(SCAN, name), rtol=1e-6, atol=atol)
        assert getattr(found, name).dtype == np.float32
    np.testing.assert_allclose(found.angles_rad, ANGLES)
    assert found.values == "counts"


def check_window(found, atol: float = 0.0) -> None:
    part = SCAN.data[::2, 1:3, 4:17]
    np.testing.assert_allclose(found.data, part, rtol=1e-6, atol=atol)
    np.testing.assert_allclose(found.flats, SCAN.flats[:, 1:3, 4:17], rtol=1e-6, atol=atol)
    np.testing.assert_allclose(found.angles_rad, ANGLES[::2])
    assert found.first_column == 4


# ---- Data Exchange


@pytest.fixture
def exchange(tmp_path):
    return write_data_exchange(tmp_path / "scan.h5", SCAN)


def test_data_exchange(exchange):
    check(read_raw_scan(exchange))
    check_window(read_raw_scan(exchange, ReadOptions(**WINDOW)))
    assert not is_projections_file(exchange)


def test_sinograms_are_turned_where_the_axes_say_so(tmp_path):
    turned = {n: np.moveaxis(getattr(SCAN, a), 0, 1) for n, a in
              (("data", "data"), ("data_white", "flats"), ("data_dark", "darks"))}  # fmt: skip
    path = write_data_exchange(tmp_path / "scan.h5", SCAN, **turned)
    refused(path, "3 views and 9 angles")
    with h5py.File(path, "a") as file:
        for name in turned:
            file[f"exchange/{name}"].attrs["axes"] = "y:theta:x"
    check(read_raw_scan(path))
    check_window(read_raw_scan(path, ReadOptions(**WINDOW)))


def test_data_exchange_with_parts_from_elsewhere(tmp_path):
    path = write_data_exchange(
        tmp_path / "scan.h5", SCAN, theta=None, data_white=None, data_dark=None
    )
    refused(path, "holds no angles", "angles=FILE", "arc_degrees=180")
    np.savetxt(tmp_path / "angles.txt", np.degrees(ANGLES))
    np.save(tmp_path / "flats.npy", SCAN.flats)
    np.save(tmp_path / "darks.npy", SCAN.darks)
    frames = {"flats": str(tmp_path / "flats.npy"), "darks": "darks.npy"}
    check(read_raw_scan(path, ReadOptions(angles=tmp_path / "angles.txt", **frames)))
    check(read_raw_scan(path, ReadOptions(arc_degrees=180, **frames)))
    assert read_raw_scan(path, ReadOptions(arc_degrees=180)).flats is None


def test_foreign_and_damaged_hdf5(tmp_path, exchange):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images/first"] = np.ones((2, 2))
    refused(tmp_path / "other.h5", "no /exchange/data", "images/first")
    (tmp_path / "half.h5").write_bytes(exchange.read_bytes()[:3000])
    refused(tmp_path / "half.h5", "could not be read", "copy it again")
    (tmp_path / "text.h5").write_text("not HDF5")
    refused(tmp_path / "text.h5", "is not an HDF5 file")
    refused(tmp_path / "none.h5", "There is no")
    (tmp_path / "scan.dat").write_text("1 2 3")
    refused(tmp_path / "scan.dat", "unknown kind", "Data Exchange")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"theta": np.degrees(ANGLES)[:8]}, ("9 views and 8 angles", "image_key=FILE")),
        ({"theta": ANGLES}, ("look like radians", 'angle_unit="radians"')),
        ({"theta": np.full(9, np.nan)}, ("9 of them NaN",)),
        ({"theta": np.ones((9, 2))}, ("exchange/theta of shape (9, 2)",)),
        ({"data": np.ones(9)}, ("exchange/data of shape (9,)",)),
        ({"data": "text"}, ("no numbers in exchange/data",)),
        ({"data_white": np.ones((2, 3, 19))}, ("flats have (3, 19)", "(3, 20)")),
    ],
)
def test_data_exchange_that_does_not_fit(tmp_path, changes, words):
    refused(write_data_exchange(tmp_path / "scan.h5", SCAN, **changes), *words)


def test_a_window_beyond_the_detector(exchange):
    refused(exchange, "columns 4 to 21", "of 20", columns=(4, 21))
    refused(exchange, "rows 0 to 4", "of 3", rows=(0, 4))
    with pytest.raises(InputError, match="5 to 5"):
        ReadOptions(rows=(5, 5))
    with pytest.raises(InputError, match="0-th view"):
        ReadOptions(every=0)
    with pytest.raises(InputError, match="one of them"):
        ReadOptions(angles=exchange, arc_degrees=180)


# ---- NeXus

KEY = np.array([2, 2, 1, *[0] * 9, 1])


def write_nexus(path, frames=None, key=KEY, angles=None, entry="entry1/tomo_entry"):
    angles = np.concatenate([[0] * 3, np.degrees(ANGLES), [180]]) if angles is None else angles
    with h5py.File(path, "w") as file:
        group = file.create_group(entry)
        group["instrument/detector/image_key"] = key
        group["sample/rotation_angle"] = angles
        group["sample/rotation_angle"].attrs["units"] = "degrees"
        group["instrument/detector/x_pixel_size"] = 5.0
        group["instrument/detector/x_pixel_size"].attrs["units"] = "um"
        detector = group["instrument/detector"]
        if frames is None:
            detector["data"] = h5py.ExternalLink("/far/away/frames.hdf", "entry/data")
        else:
            detector["data"] = frames
    return path


ALL_FRAMES = np.concatenate([SCAN.darks, SCAN.flats[:1], SCAN.data, SCAN.flats[1:]])


@pytest.mark.parametrize("entry", ["entry", "entry1/tomo_entry"])
def test_nexus(tmp_path, entry):
    path = write_nexus(tmp_path / "scan.nxs", ALL_FRAMES, entry=entry)
    found = read_raw_scan(path)
    check(found)
    assert found.column_mm == pytest.approx(0.005) and found.row_mm is None
    check_window(read_raw_scan(path, ReadOptions(**WINDOW)))


def test_views_for_alignment_are_left_out(tmp_path):
    """image_key has them as views, image_key_control as -1 (NXtomo of the ESRF)."""
    key, angles = np.append(KEY, [0, 0]), [0] * 3 + list(np.degrees(ANGLES)) + [180, 90, 0]
    frames = np.concatenate([ALL_FRAMES, SCAN.data[:2] + 500])
    path = write_nexus(tmp_path / "scan.nxs", frames, key, angles)
    assert len(read_raw_scan(path).data) == len(ANGLES) + 2
    with h5py.File(path, "r+") as file:
        control = file["entry1/tomo_entry/instrument/detector"]
        control["image_key_control"] = np.append(KEY, [-1, -1])
    found = read_raw_scan(path)
    check(found)
    assert "2 view(s) for alignment" in " ".join(found.notes)


@pytest.mark.parametrize("name", ["x_flipped", "y_flipped"])
def test_mirrored_frames_are_told(tmp_path, name):
    path = write_nexus(tmp_path / "scan.nxs", ALL_FRAMES)
    with h5py.File(path, "r+") as file:
        file[f"entry1/tomo_entry/instrument/detector/{name}"] = False
    assert not read_raw_scan(path).notes
    with h5py.File(path, "r+") as file:
        file[f"entry1/tomo_entry/instrument/detector/{name}"][()] = True
    assert f"has {name}" in " ".join(read_raw_scan(path).notes)


def test_nexus_whose_frames_are_elsewhere(tmp_path):
    refused(write_nexus(tmp_path / "scan.nxs"), "frames.hdf, which is not there", "image_key=")


def test_nexus_whose_key_does_not_fit(tmp_path):
    path = write_nexus(tmp_path / "scan.nxs", ALL_FRAMES, key=KEY[:-2])
    refused(path, "13 frames", "lists 11, 8 of them views")
    path = write_nexus(tmp_path / "b.nxs", ALL_FRAMES, key=np.ones(13))
    refused(path, "lists no views")


# ---- TIFF


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, view in enumerate(SCAN.data):
        write_tiff(folder / f"raw_{i + 5}.tif", view)  # 5 ... 13: by name 10 would come first
    for kind in ("flats", "darks"):
        for i, frame in enumerate(getattr(SCAN, kind)):
            write_tiff(folder / f"{kind[:-1]}_{i}.tif", frame)
    (folder / "notes.txt").write_text("no frame")
    np.savetxt(tmp_path / "angles.txt", np.degrees(ANGLES))
    return folder


def test_a_folder_of_tiff_frames(frames, tmp_path):
    angles = {"angles": tmp_path / "angles.txt"}
    check(read_raw_scan(frames, ReadOptions(**angles)), atol=0.5)
    check_window(read_raw_scan(frames, ReadOptions(**angles, **WINDOW)), atol=0.5)
    named = ReadOptions(**angles, views="raw_*", flats="flat_*.tif", darks="dark_*.tif")
    check(read_raw_scan(frames, named), atol=0.5)


def test_one_tiff_file_of_many_pages(frames, tmp_path):
    write_tiff(tmp_path / "stack.tif", SCAN.data)
    write_tiff(tmp_path / "flat_stack.tif", SCAN.flats)
    options = {"angles": tmp_path / "angles.txt", "flats": "flat_stack.tif"}
    found = read_raw_scan(
        tmp_path / "stack.tif", ReadOptions(**options, darks=str(frames / "dark_0.tif"))
    )
    np.testing.assert_allclose(found.data, SCAN.data, atol=0.51)
    np.testing.assert_allclose(found.flats, SCAN.flats, atol=0.51)
    assert found.darks.shape == (1, 3, 20)


def test_an_image_key_picks_the_views(frames, tmp_path):
    key = write_nexus(tmp_path / "key.nxs")
    check(read_raw_scan(frames, ReadOptions(image_key=key)), atol=0.5)
    listed = np.concatenate([[7] * 3, np.degrees(ANGLES), [7]])
    np.savetxt(tmp_path / "all.txt", listed)
    refused(frames, "9 view frames", "13 angles", "image_key=FILE", angles=tmp_path / "all.txt")
    options = ReadOptions(angles=tmp_path / "all.txt", image_key=key)
    check(read_raw_scan(frames, options), atol=0.5)
    stack = tmp_path / "stack.tif"
    write_tiff(stack, ALL_FRAMES)
    check(read_raw_scan(stack, ReadOptions(image_key=key)), atol=0.5)


def test_tiff_frames_that_do_not_fit(frames, tmp_path):
    angles = {"angles": tmp_path / "angles.txt"}
    write_tiff(frames / "raw_14.tif", SCAN.data[0])
    refused(frames, "10 view frames", "9 angles", **angles)
    write_tiff(frames / "raw_14.tif", SCAN.data[0, :2])
    refused(frames, "raw_14.tif", "(1, 2, 20)", "(1, 3, 20)", arc_degrees=180)
    (frames / "raw_14.tif").write_bytes((frames / "raw_5.tif").read_bytes()[:60])
    refused(frames, "could not be read as TIFF", arc_degrees=180)
    (frames / "raw_14.tif").write_bytes(b"")
    refused(frames, "is empty", arc_degrees=180)
    refused(frames, "no TIFF frames named x_*", views="x_*", **angles)
    (tmp_path / "nothing").mkdir()
    refused(tmp_path / "nothing", "no TIFF frames", **angles)
    (frames / "raw_14.tif").unlink()
    refused(frames, "no frames open_*.tif", flats="open_*.tif", **angles)


# ---- NumPy


def test_numpy_files(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        data=SCAN.data,
        flats=SCAN.flats,
        darks=SCAN.darks,
        angles_degrees=np.degrees(ANGLES),
    )
    check(read_raw_scan(tmp_path / "a.npz"))
    check_window(read_raw_scan(tmp_path / "a.npz", ReadOptions(**WINDOW)))
    np.savez(tmp_path / "b.npz", data=LINES[:, 0], angles_rad=ANGLES)
    found = read_raw_scan(tmp_path / "b.npz", ReadOptions(values="lines"))
    np.testing.assert_allclose(found.data, LINES[:, :1], rtol=1e-6)
    assert found.values == "lines"
    np.save(tmp_path / "c.npy", LINES)
    found = read_raw_scan(tmp_path / "c.npy", ReadOptions(values="lines", arc_degrees=180))
    np.testing.assert_allclose(found.angles_rad, ANGLES)


def test_numpy_files_that_do_not_fit(tmp_path):
    np.save(tmp_path / "a.npy", np.moveaxis(LINES, 0, 2))
    np.savetxt(tmp_path / "angles.txt", np.degrees(ANGLES))
    refused(tmp_path / "a.npy", "3 views", "9 angles", "moveaxis", angles=tmp_path / "angles.txt")
    np.savez(tmp_path / "b.npz", lines=LINES)
    refused(tmp_path / "b.npz", "holds lines", "named data")
    np.savez(tmp_path / "many.npz", **{f"{i}{'x' * 99}": 1 for i in range(500)})
    refused(tmp_path / "many.npz", "holds 0x", "9x", "x and 490 more.")
    np.save(tmp_path / "c.npy", np.array([{"a": 1}]))
    refused(tmp_path / "c.npy", "could not be read as NumPy")
    np.save(tmp_path / "d.npy", np.ones((2, 2, 2, 2)))
    refused(tmp_path / "d.npy", "shape (2, 2, 2, 2)", arc_degrees=180)
    np.savez(tmp_path / "e.npz", data=LINES, angles_rad=np.degrees(ANGLES))
    refused(tmp_path / "e.npz", "look like degrees")
    (tmp_path / "f.npz").write_bytes((tmp_path / "e.npz").read_bytes()[:500])
    refused(tmp_path / "f.npz", "could not be read as NumPy")


# ---- the Helsinki Tomography Challenge


def write_matlab(path, **changes):
    parameters = {
        "angles": np.degrees(ANGLES),
        "pixelSizePost": 0.2,
        "distanceSourceOrigin": 410.66,
        "distanceSourceDetector": 553.74,
        "distanceUnit": "mm",
        "projectName": "disc",
    } | changes
    kept = {k: v for k, v in parameters.items() if v is not None}
    savemat(path, {"CtDataLimited": {"sinogram": LINES[:, 0], "parameters": kept}})
    return path


def test_a_disc_of_the_challenge(tmp_path):
    path = write_matlab(tmp_path / "disc_limited.mat")
    found = read_raw_scan(path)
    np.testing.assert_allclose(found.data, LINES[:, :1], rtol=1e-6)
    np.testing.assert_allclose(found.angles_rad, ANGLES)
    assert (found.values, found.column_mm, found.centre_column) == ("lines", 0.2, 9.5)
    assert (found.source_to_axis_mm, found.source_to_detector_mm) == (410.66, 553.74)
    part = read_raw_scan(path, ReadOptions(columns=(4, 17), every=2))
    np.testing.assert_allclose(part.data, LINES[::2, :1, 4:17], rtol=1e-6)
    assert (part.centre_column, part.first_column) == (5.5, 4)


def test_matlab_files_that_are_no_disc(tmp_path):
    refused(write_matlab(tmp_path / "a.mat", angles=None), "lacks a part", "angles")
    refused(write_matlab(tmp_path / "b.mat", distanceUnit="m"), "lengths in m")
    refused(write_matlab(tmp_path / "c.mat", angles=[0.0, 90.0]), "9 views and 2 angles")
    savemat(tmp_path / "d.mat", {"picture": np.ones((2, 2))})
    refused(tmp_path / "d.mat", "holds picture", "CtDataFull")
    (tmp_path / "e.mat").write_bytes((tmp_path / "b.mat").read_bytes()[:700])
    refused(tmp_path / "e.mat", "could not be read as a MATLAB file")
    (tmp_path / "f.mat").write_text("text")
    refused(tmp_path / "f.mat", "MATLAB")


def test_measured_sets_are_read(shared_data):
    folder = shared_data / "projections"
    savu = ReadOptions(
        angles=folder / "savu" / "angles.txt", image_key=folder / "savu" / "24888.nxs"
    )
    scan = read_raw_scan(folder / "savu", savu)
    assert scan.data.shape == (91, 135, 160) and len(scan.flats) == len(scan.darks) == 1
    assert np.degrees(scan.angles_rad[[0, -1]]) == pytest.approx([-88.2, 91.8], abs=1e-3)
    tooth = read_raw_scan(folder / "tooth" / "tooth.h5")
    assert tooth.data.shape == (181, 2, 640) and len(tooth.flats) == 10
    disc = read_raw_scan(folder / "htc2022" / "htc2022_07c_limited.mat")
    assert np.degrees(disc.angles_rad[[0, -1]]) == pytest.approx([20, 50])


def test_an_npz_that_holds_an_array_twice_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.ones((4, 2, 8)))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("data.npy", archive.read("data.npy"))
    with pytest.raises(InputError, match="holds an array twice"):
        read_raw_scan(tmp_path / "a.npz", ReadOptions(arc_degrees=180.0))


def test_a_line_of_millions_of_angles_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 2, 8)))
    (tmp_path / "angles.txt").write_text("1 " * 1_100_000)
    with pytest.raises(InputError, match="or lines of millions"):
        read_raw_scan(tmp_path / "a.npy", ReadOptions(angles=tmp_path / "angles.txt"))
