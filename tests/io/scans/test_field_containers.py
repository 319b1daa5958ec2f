"""HDF5 and NumPy files of the field: parts elsewhere, compressed, averaged, turned."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest
import tifffile

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from field_scans import (
    HALF,
    check_discs,
    counts_of,
    parallel_lines,
    prepared,
)

VIEWS = HALF[::2]
COUNTS = counts_of(parallel_lines(VIEWS, rows=3))
DEGREES = np.degrees(VIEWS)
T = {"values": "transmission"}


def refused(source, *words, **read):
    with pytest.raises(InputError) as caught:
        read_raw_scan(source, ReadOptions(**read))
    assert "Expected: " in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def check(scan: RawScan, flats=1) -> None:
    np.testing.assert_array_equal(scan.data, COUNTS["data"].astype(np.float32))
    assert scan.flats.shape == (flats, 3, 128) and scan.darks.shape[1:] == (3, 128)
    np.testing.assert_allclose(scan.angles_rad, VIEWS)


def write_exchange(path, data, flats=None, darks=None, **how):
    with h5py.File(path, "w") as file:
        group = file.create_group("exchange")
        group.create_dataset("data", data=data, **how)
        if flats is not None:
            group["data_white"], group["data_dark"] = flats, darks
        group["theta"] = DEGREES
        group["theta"].attrs["units"] = "degrees"
    return path


# ---- one flat without an axis of frames, sinograms


def test_an_averaged_flat(tmp_path):
    mean = {n: COUNTS[n].mean(axis=0) for n in ("flats", "darks")}
    check(read_raw_scan(write_exchange(tmp_path / "a.h5", COUNTS["data"], **mean)))
    np.savez(tmp_path / "a.npz", data=COUNTS["data"], angles_degrees=DEGREES, **mean)
    check(read_raw_scan(tmp_path / "a.npz"))
    part = read_raw_scan(tmp_path / "a.npz", ReadOptions(rows=(1, 3), columns=(4, 100)))
    np.testing.assert_allclose(part.flats, mean["flats"][None, 1:3, 4:100], rtol=1e-6)
    np.save(tmp_path / "flat.npy", mean["flats"])
    found = read_raw_scan(tmp_path / "a.npz", ReadOptions(flats=str(tmp_path / "flat.npy")))
    assert found.flats.shape == (1, 3, 128)
    check_discs(prepared(tmp_path / "a.h5", {}), 0.06)


def test_an_averaged_flat_of_a_single_row(tmp_path):
    data, flat, dark = COUNTS["data"][:, 0], COUNTS["flats"][:, 0].mean(0), COUNTS["darks"][0, 0]
    np.savez(tmp_path / "a.npz", data=data, angles_degrees=DEGREES, flats=flat, darks=dark)
    write_exchange(tmp_path / "a.h5", data, flat, dark)
    for name in ("a.npz", "a.h5"):
        assert read_raw_scan(tmp_path / name).flats.shape == (1, 1, 128)


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.npy"])
def test_arrays_of_sinograms(tmp_path, name):
    turned = {n: COUNTS[n].swapaxes(0, 1) for n in COUNTS}
    np.savez(tmp_path / "a.npz", angles_degrees=DEGREES, **turned)
    write_exchange(tmp_path / "a.h5", *(turned[n] for n in ("data", "flats", "darks")))
    np.save(tmp_path / "a.npy", np.asfortranarray(turned["data"]))
    np.save(tmp_path / "f.npy", COUNTS["flats"])
    np.save(tmp_path / "d.npy", COUNTS["darks"])
    named = {"flats": "f.npy", "darks": "d.npy", "arc_degrees": 180} if name == "a.npy" else {}
    check(read_raw_scan(tmp_path / name, ReadOptions(sinograms=True, **named)), flats=5)


def test_npz_with_other_usual_names(tmp_path):
    names = {"projections": COUNTS["data"], "white": COUNTS["flats"], "dark": COUNTS["darks"]}
    np.savez(tmp_path / "a.npz", theta=DEGREES, **names)
    check(read_raw_scan(tmp_path / "a.npz"), flats=5)
    np.savez(tmp_path / "b.npz", theta_rad=VIEWS, other=1, **names)
    check(read_raw_scan(tmp_path / "b.npz"), flats=5)
    np.savez(tmp_path / "c.npz", proj=COUNTS["data"], tomo=COUNTS["data"], theta=DEGREES)
    refused(tmp_path / "c.npz", "holds proj, tomo, theta")


# ---- filters and parts


@pytest.mark.parametrize(
    ("flat", "dark"),
    [("I0", "dark_current"), ("air", "offset"), ("flat_field", "dark_field"), ("ff", "df")],
)
def test_npz_names_of_frames(tmp_path, flat, dark):
    frames = {flat: COUNTS["flats"], dark: COUNTS["darks"]}
    np.savez(tmp_path / "a.npz", projections=COUNTS["data"], theta_deg=DEGREES, **frames)
    scan = read_raw_scan(tmp_path / "a.npz")
    check(scan, flats=5)
    assert not scan.notes


def test_npz_arrays_that_are_not_read_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", data=COUNTS["data"], angles_degrees=DEGREES, monitor=DEGREES)
    assert "also holds monitor" in " ".join(read_raw_scan(tmp_path / "a.npz").notes)


@pytest.mark.parametrize("userblock", [0, 512])
def test_matlab_files_of_version_7_3(tmp_path, userblock):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=userblock) as file:
        file["CtDataFull/sinogram"] = np.zeros((4, 4))
    refused(tmp_path / "a.mat", "version 7.3", "-v7")


def test_a_filter_that_is_not_installed(tmp_path):
    """A chunk stored raw, with a number that no filter has: what a missing plug-in looks like."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("exchange")
        group["theta"] = DEGREES
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_chunk((1, 3, 128))
        create.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, (0, 2))
        space = h5py.h5s.create_simple((90, 3, 128))
        data = h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_UINT16, space, create)
        for view in range(90):
            data.write_direct_chunk((view, 0, 0), COUNTS["data"][view].tobytes())
    if h5py.h5z.filter_avail(32008):
        pytest.skip("the bitshuffle filter is installed here")
    refused(path, "filter 32008 (bitshuffle)", "pip install hdf5plugin")
    write_exchange(tmp_path / "b.h5", COUNTS["data"], compression="gzip", shuffle=True)
    np.testing.assert_array_equal(read_raw_scan(tmp_path / "b.h5").data, COUNTS["data"])


def test_parts_in_other_files_that_are_not_there(tmp_path):
    for half, part in enumerate(np.split(COUNTS["data"], 2)):
        with h5py.File(tmp_path / f"part_{half}.h5", "w") as file:
            file["data"] = part
    layout = h5py.VirtualLayout((90, 3, 128), np.uint16)
    for half in range(2):
        source = h5py.VirtualSource(f"part_{half}.h5", "data", (45, 3, 128))
        layout[45 * half : 45 * (half + 1)] = source
    path = tmp_path / "master.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("exchange/data", layout)
        file["exchange/theta"] = DEGREES
    np.testing.assert_array_equal(read_raw_scan(path).data, COUNTS["data"])
    (tmp_path / "part_1.h5").rename(tmp_path / "away.h5")
    refused(path, "1 part(s) of /exchange/data", "part_1.h5", "beside master.h5")


def test_room_that_was_never_filled(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("exchange/data", (90, 3, 128), np.uint16, chunks=(1, 3, 128))
        file["exchange/theta"] = DEGREES
    refused(tmp_path / "a.h5", "nothing was ever written")


def test_data_behind_a_link_that_leads_nowhere(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = h5py.ExternalLink("frames.h5", "entry/data")
        file["exchange/theta"] = DEGREES
    refused(tmp_path / "a.h5", "no /exchange/data", "frames.h5, which is not there")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["exchange/data"] = h5py.SoftLink("/raw/data")
        file["exchange/theta"] = DEGREES
    refused(tmp_path / "b.h5", "a link to /raw/data, which is not there")


def test_angles_in_a_column(tmp_path):
    path = write_exchange(tmp_path / "a.h5", COUNTS["data"])
    with h5py.File(path, "a") as file:
        del file["exchange/theta"]
        file["exchange/theta"] = DEGREES[:, None]
    np.testing.assert_allclose(read_raw_scan(path).angles_rad, VIEWS)


# ---- NeXus


def write_nexus(path, data, key=None, unit=None, size=1000.0, where="rotation_angle"):
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry1/tomo_entry")
        entry["definition"] = "NXtomo"
        entry["instrument/detector/data"] = data
        if key is not None:
            entry["instrument/detector/image_key"] = key
        if unit is not None:
            entry["instrument/detector/x_pixel_size"] = size
            entry["instrument/detector/x_pixel_size"].attrs["units"] = unit
        angles = DEGREES if key is None else np.append(np.zeros(len(data) - 90), DEGREES)
        entry[f"sample/{where}"] = angles
        entry[f"sample/{where}"].attrs["units"] = "degree"
        entry[f"sample/{where}"].attrs["transformation_type"] = "rotation"
    return path


ALL = np.concatenate([COUNTS["darks"], COUNTS["flats"], COUNTS["data"]])
KEY = np.repeat([2, 1, 0], [3, 5, 90])


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("micron", 1), ("\u03bcm", 1), ("\u00b5m", 1), ("Micrometers", 1), ("metre", 1e6),
     ("nm", 1e-3), ("um", 1)],
)  # fmt: skip
def test_units_of_pixels(tmp_path, unit, mm):
    scan = read_raw_scan(write_nexus(tmp_path / "a.nxs", ALL, KEY, unit))
    assert scan.column_mm == pytest.approx(mm)
    check(scan, flats=5)


def test_a_unit_that_is_not_known_is_reported(tmp_path):
    scan = read_raw_scan(write_nexus(tmp_path / "a.nxs", ALL, KEY, "furlong"))
    assert scan.column_mm is None
    assert any("1000 in 'furlong', which is not used" in note for note in scan.notes)


def test_nexus_without_a_key(tmp_path):
    path = write_nexus(tmp_path / "a.nxs", np.exp(-parallel_lines(VIEWS)).astype(np.float32))
    refused(path, "has no image key", 'values="transmission"')
    done = prepared(path, T)
    check_discs(done)
    assert any("no image key" in note for note in done.correction.notes)
    np.save(tmp_path / "flats.npy", COUNTS["flats"])
    path = write_nexus(tmp_path / "b.nxs", COUNTS["data"])
    assert len(read_raw_scan(path, ReadOptions(flats="flats.npy")).flats) == 5


def test_nexus_with_its_angles_among_the_transformations(tmp_path):
    path = write_nexus(tmp_path / "a.nxs", ALL, KEY, where="transformations/omega")
    check(read_raw_scan(path), flats=5)


def test_several_entries_and_two_sizes_of_a_pixel(tmp_path):
    path = write_nexus(tmp_path / "a.nxs", ALL, KEY, "um", 6.5)
    with h5py.File(path, "a") as file:
        file.copy("entry1", "entry2")
        size = file["entry1/tomo_entry"].create_dataset("sample/x_pixel_size", data=0.65)
        size.attrs["units"] = "um"
    scan = read_raw_scan(path)
    assert scan.column_mm == pytest.approx(0.65e-3)  # behind a lens of 10 times
    notes = " ".join(scan.notes)
    assert "2 entries with frames; /entry1/tomo_entry was read, and not /entry2" in notes
    assert "sample/x_pixel_size (0.65 um) was taken" in notes


def test_flats_that_were_taken_afterwards_are_named(tmp_path):
    path = write_exchange(tmp_path / "a.h5", COUNTS["data"], COUNTS["flats"], COUNTS["darks"])
    with h5py.File(path, "a") as file:
        file["exchange/data_white_post"] = COUNTS["flats"]
    assert read_raw_scan(path).notes == ("/exchange also has data_white_post, which was not read",)


def with_frames_own(path, name, values, unit=None):
    with h5py.File(path, "a") as file:
        entry = file["entry1/tomo_entry"]
        entry[name] = values
        if unit is not None:
            entry[name].attrs["units"] = unit
    return path


@pytest.mark.parametrize("name", ["control/data", "instrument/detector/count_time"])
def test_a_beam_that_its_monitor_followed(tmp_path, name):
    """Flats before, views of a beam that fell to less than half, which the monitor counted."""
    beam = np.concatenate([np.full(8, 100.0), np.linspace(95, 40, 90)])
    open_beam, darks = np.full((5, 3, 128), 20000.0), np.full((3, 3, 128), 100.0)
    views = 20000 * np.exp(-parallel_lines(VIEWS, rows=3))
    strong = np.concatenate([darks, 100 + open_beam, 100 + views])
    weak = 100 + (strong - 100) * (beam / 100)[:, None, None]
    path = with_frames_own(write_nexus(tmp_path / "a.nxs", weak, KEY, "mm", 1.0), name, beam)
    done = prepared(path, {})
    assert any("varies by" in n and "divided by it" in n for n in done.correction.notes)
    check_discs(done)
    already = with_frames_own(write_nexus(tmp_path / "b.nxs", strong, KEY, "mm", 1.0), name, beam)
    done = prepared(already, {})
    assert any("do not follow" in note for note in done.correction.notes)
    check_discs(done)
    steady = with_frames_own(write_nexus(tmp_path / "c.nxs", ALL, KEY), name, np.full(98, 7.0))
    check(read_raw_scan(steady), flats=5)
    assert not read_raw_scan(steady).notes


def test_a_monitor_beside_frames_in_other_files_is_named(tmp_path):
    key = write_nexus(tmp_path / "key.nxs", ALL, KEY)
    with_frames_own(key, "control/data", np.linspace(50, 40, 98))
    tifffile.imwrite(tmp_path / "all.tif", ALL)
    scan = read_raw_scan(tmp_path / "all.tif", ReadOptions(image_key=key))
    assert any("frames in other files are not divided by it" in note for note in scan.notes)


@pytest.mark.parametrize(
    "name",
    ["sample/x_translation", "sample/y_translation", "instrument/detector/x_translation",
     "sample/transformations/height"],
)  # fmt: skip
def test_a_sample_that_moves_over_the_views(tmp_path, name):
    """Flats are often taken with the sample moved out, which is no motion of the views."""

    def scan(file, moved, unit="mm"):
        path = write_nexus(tmp_path / file, ALL, KEY, "mm", 1.0)
        where = np.where(KEY == 0, 0.0, 50.0)
        where[8:] = moved * np.linspace(0, 1, 90)
        with_frames_own(path, name, where, unit)
        with h5py.File(path, "a") as opened:
            opened[f"entry1/tomo_entry/{name}"].attrs["transformation_type"] = "translation"
        return path

    refused(scan("a.nxs", 5.0), f"{name} vary by 5 mm, 5 pixels", "vectors")
    (note,) = read_raw_scan(scan("b.nxs", 1000.0, "um")).notes
    assert "varies by 1 pixels" in note
    (note,) = read_raw_scan(scan("c.nxs", 5.0, None)).notes
    assert "varies by 5 (no unit)" in note
    assert not read_raw_scan(scan("d.nxs", 0.2)).notes


# ---- flat-corrected frames, a lying axis


def test_a_white_level_in_place_of_flats(tmp_path):
    white = np.round(60000 * np.exp(-parallel_lines(HALF))).astype(np.uint16)
    np.save(tmp_path / "a.npy", white)
    arc = {"arc_degrees": 180}
    with pytest.raises(InputError, match="white_level"):
        prepared(tmp_path / "a.npy", arc)
    with pytest.raises(InputError, match="white_level"):
        prepared(tmp_path / "a.npy", {**arc, **T})
    done = prepared(tmp_path / "a.npy", {**arc, "white_level": 60000})
    check_discs(done)
    assert done.correction.notes == [
        "the open beam is taken to be 60000 in every pixel, and 0 none"
    ]
    with_dark = np.round(1000 + 59000 * np.exp(-parallel_lines(HALF))).astype(np.uint16)
    np.save(tmp_path / "b.npy", with_dark)
    np.save(tmp_path / "dark.npy", np.full((2, 128), 1000))
    read = {**arc, "white_level": 60000, "darks": str(tmp_path / "dark.npy")}
    check_discs(prepared(tmp_path / "b.npy", read))
    for wrong in ({"white_level": -1.0}, {"white_level": 9.0, "flats": "x"},
                  {"white_level": 9.0, "values": "lines"}):  # fmt: skip
        with pytest.raises(InputError):
            ReadOptions(**wrong)


def test_frames_that_are_turned(tmp_path):
    lines = parallel_lines(VIEWS, 100, 49.5, rows=12) * np.linspace(0.6, 1, 12)[:, None]
    np.savez(tmp_path / "a.npz", data=np.exp(-lines).swapaxes(1, 2), angles_rad=VIEWS)
    with pytest.raises(InputError, match=r"(?s)along the detector's rows.*horizontal_axis=True"):
        prepared(tmp_path / "a.npz", T)
    turned = {**T, "horizontal_axis": True}
    done = prepared(tmp_path / "a.npz", {**turned, "rows": (0, 1), "columns": (1, 100)})
    check_discs(done)  # the last row of before is the first
    assert done.projections.grid.origin_mm[2] == pytest.approx(-5.5)
    assert prepared(tmp_path / "a.npz", turned).projections.values.shape == (90, 12, 100)


def test_options_that_a_source_has_no_use_for(tmp_path):
    np.save(tmp_path / "a.npy", COUNTS["data"])
    refused(tmp_path / "a.npy", "views was given for a.npy", views="*.tif", arc_degrees=180)
    key = write_nexus(tmp_path / "key.nxs", ALL, KEY)
    refused(tmp_path / "a.npy", "image_key", image_key=key, arc_degrees=180)
    refused(key, "sinograms", sinograms=True)


def test_an_archive_that_claims_more_than_it_can_hold(tmp_path):
    packed = {"compression": zipfile.ZIP_BZIP2}  # which packs zeros a million to one
    with zipfile.ZipFile(tmp_path / "a.npz", "w", **packed) as archive:
        np.save(whole := io.BytesIO(), np.zeros((30, 2048, 1024), np.float32))
        archive.writestr("data.npy", whole.getbuffer())
    refused(tmp_path / "a.npz", "claims 252 MB of arrays", "memory are free", arc_degrees=180)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        np.save(small := io.BytesIO(), np.zeros((9, 2, 4), np.float32))
        lie = small.getvalue().replace(b"(9, 2, 4)", b"(9999, 9999, 9)")[:200]
        archive.writestr("data.npy", lie)
        archive.writestr("other.npy", b"not asked for")
    refused(tmp_path / "b.npz", "claims", "memory are free", arc_degrees=180)
