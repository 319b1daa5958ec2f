"""NRRD: spaces, units, packings and detached data, against files written line by line."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from diffusionblend.errors import InputError
from diffusionblend.io.volumes import read_volume
from volume_files import ORIGIN, SPACING, blocks, nrrd_bytes

HU = blocks()


def read_bytes(tmp_path, data, name="a.nrrd"):
    notes = []
    (tmp_path / name).write_bytes(data)
    return read_volume(tmp_path / name, on_note=notes.append), " ".join(notes)


def refused(tmp_path, data, *words, name="a.nrrd"):
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, data, name)
    for word in words:
        assert word in str(caught.value)


def assert_plain(volume, values=HU):
    np.testing.assert_array_equal(volume.values, values)
    np.testing.assert_allclose(volume.grid.spacing_mm, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.grid.origin_mm, ORIGIN, atol=1e-6)


def packed(data, packing, unpack):
    header, _, voxels = data.partition(b"\n\n")
    return header.replace(b"encoding: raw", b"encoding: " + packing) + b"\n\n" + unpack(voxels)


@pytest.mark.parametrize("endian", ["little", "big"])
def test_a_plain_file_is_read_without_a_word(tmp_path, endian):
    volume, notes = read_bytes(tmp_path, nrrd_bytes(HU, endian=endian))
    assert_plain(volume)
    assert notes == ""


@pytest.mark.parametrize(
    ("packing", "pack"),
    [
        (b"gzip", gzip.compress),
        (b"gz", gzip.compress),
        (b"bzip2", bz2.compress),
        (b"bz2", bz2.compress),
        (b"hex", lambda v: v.hex().encode()),
        (b"ascii", lambda v: " ".join(map(str, np.frombuffer(v, "<i2"))).encode()),
    ],
)
def test_every_packing_is_read_and_its_truncation_found(tmp_path, packing, pack):
    data = packed(nrrd_bytes(HU), packing, pack)
    assert_plain(read_bytes(tmp_path, data)[0])
    refused(tmp_path, data[:-12], "a.nrrd", "truncated")


def test_an_unknown_packing_is_refused_by_name(tmp_path):
    refused(tmp_path, packed(nrrd_bytes(HU), b"zstd", bytes), "encoding", "zstd", "bzip2")


@pytest.mark.parametrize(
    ("unit", "scale"),
    [('"um"', 1e-3), ('"µm"', 1e-3), ('"microns"', 1e-3), ('"m"', 1e3), ('"cm"', 10), ('"mm"', 1)],
)
def test_space_units_are_made_mm(tmp_path, unit, scale):
    factor = max(scale, 1)  # metres and centimetres in small steps, so that voxels stay CT-like
    directions = " ".join(
        f"({','.join(str(float(v)) for v in row)})" for row in np.diag([1.5, 1.5, 2.0]) / factor
    )
    data = nrrd_bytes(HU, f"space units: {unit} {unit} {unit}", space_directions=directions)
    volume, notes = read_bytes(tmp_path, data)
    np.testing.assert_allclose(volume.grid.spacing_mm, np.array(SPACING) * scale / factor)
    np.testing.assert_allclose(volume.grid.origin_mm, np.array(ORIGIN) * scale)
    assert ("made mm" in notes) == (scale != 1)


def test_a_micro_sign_of_latin_1_is_read(tmp_path):
    data = nrrd_bytes(HU, 'space units: "um" "um" "um"').replace(b'"um"', b'"\xb5m"')
    assert read_bytes(tmp_path, data)[0].grid.spacing_mm == pytest.approx((0.002, 0.0015, 0.0015))


def test_an_unknown_unit_is_refused(tmp_path):
    refused(tmp_path, nrrd_bytes(HU, 'space units: "ell" "ell" "ell"'), "ell", "unit of length")


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("LPS", (1, 1, 1)),
    ],
)
def test_every_space_of_the_patient_is_turned_to_lps(tmp_path, space, signs):
    directions = " ".join(
        f"({','.join(str(float(v)) for v in row)})"
        for row in np.diag(np.array([1.5, 1.5, 2]) * signs)
    )
    origin = f"({','.join(str(o * s) for o, s in zip(ORIGIN, signs, strict=True))})"
    data = nrrd_bytes(HU, space=space, space_directions=directions, space_origin=origin)
    volume, notes = read_bytes(tmp_path, data)
    assert_plain(volume)
    assert notes == ""


def test_spaces_agree_with_simpleitk(tmp_path):
    data = nrrd_bytes(HU, space="right-anterior-superior")
    volume, _ = read_bytes(tmp_path, data)
    image = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "a.nrrd")), "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.values)
    np.testing.assert_allclose(image.GetOrigin(), volume.grid.origin_mm)


def test_sheared_directions_are_resampled_and_reported(tmp_path):
    data = nrrd_bytes(HU, space_directions="(1.5,0,0) (0,1.5,0) (0,0.5,2)")
    volume, notes = read_bytes(tmp_path, data)
    assert "a.nrrd" in notes and "sheared" in notes and "14.0 degrees" in notes
    z, y, x = 2, 5, 4  # bone, whose slice is shifted by two thirds of a pixel
    index = (np.array([x * 1.5, y * 1.5 + z * 0.5, z * 2.0]) + ORIGIN - volume.grid.origin_mm) / (
        1.5,
        1.5,
        2.0,
    )
    assert volume.values[tuple(np.round(index[::-1]).astype(int))] == 700


def test_what_is_not_known_is_reported(tmp_path):
    nowhere = {"leave_out": ("space", "space directions", "space origin")}
    volume, notes = read_bytes(tmp_path, nrrd_bytes(HU, "spacings: 1.5 1.5 2", **nowhere))
    assert volume.grid.spacing_mm == SPACING and "orientation" in notes
    volume, notes = read_bytes(tmp_path, nrrd_bytes(HU, **nowhere))
    assert volume.grid.spacing_mm == (1, 1, 1) and "how large" in notes
    _, notes = read_bytes(tmp_path, nrrd_bytes(HU, space_directions="none none none"))
    assert "how large" in notes
    _, notes = read_bytes(tmp_path, nrrd_bytes(HU, space="scanner-xyz"))
    assert "orientation" in notes
    _, notes = read_bytes(tmp_path, nrrd_bytes(HU, leave_out=("space origin",)))
    assert "no space origin" in notes
    volume, notes = read_bytes(
        tmp_path, nrrd_bytes(HU, "spacings: 1500 1500 2000", 'units: "um" "um" "um"', **nowhere)
    )
    assert volume.grid.spacing_mm == SPACING and "made mm" in notes
    _, notes = read_bytes(tmp_path, nrrd_bytes(HU, 'sample units: "mg/ml"'))
    assert "mg/ml" in notes


PLAIN = {"leave_out": ("space", "space directions", "space origin")}
SPACINGS = "spacings: 1.5 1.5 2"


@pytest.mark.parametrize(
    "lines",
    [
        [SPACINGS, "axis mins: -10 -20 30"],
        [SPACINGS, "axismins: -10 -20 30", "centers: cell cell cell"],
        [SPACINGS, "axis mins: -10 -20 30", "centerings: node node node"],
        ["spacings: -1.5 1.5 2", "axis mins: -10 -20 30"],
    ],
)
def test_axis_mins_place_the_first_voxel_as_in_simpleitk(tmp_path, lines):
    volume, notes = read_bytes(tmp_path, nrrd_bytes(HU, *lines, **PLAIN))
    image = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "a.nrrd")), "LPS")
    if "-1.5" not in lines[0]:  # of which SimpleITK makes 1.5
        np.testing.assert_allclose(volume.grid.origin_mm, image.GetOrigin())
    else:
        last = -10 - 1.5 / 2 - 1.5 * (HU.shape[2] - 1)
        np.testing.assert_allclose(volume.grid.origin_mm, (last, -20 + 0.75, 31))
    assert volume.grid.spacing_mm == SPACING and "orientation" in notes


def test_axis_mins_and_maxs_give_the_spacing(tmp_path):
    """SimpleITK takes 1 mm here."""
    ends = ["axis mins: -10 -20 30", f"axis maxs: {-10 + 12 * 1.5} {-20 + 16 * 1.5} 42"]
    volume, _ = read_bytes(tmp_path, nrrd_bytes(HU, *ends, **PLAIN))
    assert volume.grid.spacing_mm == SPACING
    assert volume.grid.origin_mm == (-9.25, -19.25, 31)
    nodes = ["axis mins: -10 -20 30", f"axis maxs: {-10 + 11 * 1.5} {-20 + 15 * 1.5} 40"]
    volume, notes = read_bytes(
        tmp_path, nrrd_bytes(HU, *nodes, "centers: node node node", 'units: "mm"', **PLAIN)
    )
    assert volume.grid.spacing_mm == SPACING and volume.grid.origin_mm == (-10, -20, 30)
    _, notes = read_bytes(tmp_path, nrrd_bytes(HU, *ends, "spacings: 1 1 1", **PLAIN))
    assert "contradicts itself" in notes and "1.5 x 1.5 x 2" in notes
    small = ["spacings: 1500 1500 2000", "axis mins: -1e4 nan 3e4", 'units: "um" "um" "um"']
    volume, _ = read_bytes(tmp_path, nrrd_bytes(HU, *small, "centers: node node node", **PLAIN))
    np.testing.assert_allclose(volume.grid.origin_mm, (-10, 0, 30), atol=1e-6)


def test_an_axis_of_components_is_dropped_or_refused(tmp_path):
    directions = "none (1.5,0,0) (0,1.5,0) (0,0,2)"
    one = nrrd_bytes(
        HU[..., None], "kinds: vector domain domain domain", space_directions=directions
    )
    assert_plain(read_bytes(tmp_path, one)[0])
    three = nrrd_bytes(
        np.repeat(HU[..., None], 3, -1),
        "kinds: vector domain domain domain",
        space_directions=directions,
    )
    refused(tmp_path, three, "3 components")
    moving = nrrd_bytes(
        np.stack([HU, HU]), "kinds: domain domain domain time",
        space_directions="(1.5,0,0) (0,1.5,0) (0,0,2) none",
    )  # fmt: skip
    refused(tmp_path, moving, "2 time points")


def detached(tmp_path, named, files, *extra, **fields):
    """A .nhdr and its data files; returns the path of the header."""
    header = nrrd_bytes(HU, *extra, **fields).partition(b"\n\n")[0]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a.nhdr").write_bytes(header + f"\ndata file: {named}\n".encode())
    return tmp_path / "a.nhdr"


def test_detached_data_is_read_from_one_file_or_many(tmp_path):
    voxels = HU.astype("<i2").tobytes()
    share = len(voxels) // 3
    thirds = {f"p{k}.raw": voxels[k * share : (k + 1) * share] for k in range(3)}
    assert_plain(read_volume(detached(tmp_path, "a.raw", {"a.raw": voxels})))
    assert_plain(read_volume(detached(tmp_path, "LIST\n" + "\n".join(thirds), thirds)))
    assert_plain(read_volume(detached(tmp_path, "p%d.raw 0 2 1", thirds)))
    skipped = {"a.raw": b"a line\n" + b"xyz" + voxels}
    path = detached(tmp_path, "a.raw", skipped, "byte skip: -1")
    assert_plain(read_volume(path))
    packed = detached(tmp_path, "a.raw.gz", {"a.raw.gz": gzip.compress(voxels)}, encoding="gzip")
    assert_plain(read_volume(packed))


def test_detached_data_that_is_missing_short_or_elsewhere_is_named(tmp_path):
    path = detached(tmp_path, "gone.raw", {})
    for named, words in (("gone.raw", "there is no"), ("../x.raw", "in another folder")):
        path = detached(tmp_path, named, {})
        with pytest.raises(InputError, match=words):
            read_volume(path)
    path = detached(tmp_path, "a.raw", {"a.raw": b"1234"})
    with pytest.raises(InputError, match=r"truncated.*4 bytes"):
        read_volume(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"NRRD0004\n" + b"x" * 1100 + b"\n\n", ("without a colon",)),
        (nrrd_bytes(HU, type="block"), ("type",)),
        (nrrd_bytes(HU, leave_out=("endian",)), ("endian",)),
        (nrrd_bytes(HU, space="moon"), ("moon",)),
        (
            nrrd_bytes(HU[0], leave_out=("space directions", "space", "space origin")),
            ("2 dimensions",),
        ),
        (nrrd_bytes(HU, sizes="12 16 600"), ("truncated",)),
        (nrrd_bytes(HU, dimension="16"), ("contradicts itself", "'16'", "3 sizes")),
        (nrrd_bytes(HU, "sizes: 1 1 1"), ("contradicts itself", "'sizes' twice")),
        (nrrd_bytes(HU, space_directions="(1,0,0) (0,1,0) (0,0,x)"), ("numbers",)),
        (nrrd_bytes(HU, space_directions="(1,0,0) (0,1,0) (1,1,0)"), ("one plane",)),
        (nrrd_bytes(HU, space_directions="(1,0,0) (0,1,0) (0,0,1e308)"), ("a.nrrd",)),
    ],
)
def test_a_header_that_cannot_be_believed_is_refused(tmp_path, data, words):
    refused(tmp_path, data, *words)


def test_a_data_file_that_is_too_long_is_told(tmp_path):
    plain = nrrd_bytes(HU, "data file: a.raw").partition(b"\n\n")
    (tmp_path / "a.raw").write_bytes(bytes(48) + plain[2])
    _, notes = read_bytes(tmp_path, plain[0] + b"\n\n", "a.nhdr")
    assert "a.raw holds 48 bytes more" in notes
    skipped = plain[0] + b"\nbyte skip: 48\n\n"
    volume, notes = read_bytes(tmp_path, skipped, "b.nhdr")
    assert_plain(volume)
    assert notes == ""


@pytest.mark.parametrize("lines", [400, 4_000_000_000])
def test_more_lines_to_skip_than_there_are(tmp_path, lines):
    data = nrrd_bytes(HU, f"line skip: {lines}").partition(b"\n\n")[0] + b"\n\n" + b"text\n" * 300
    refused(tmp_path, data + bytes(HU.size * 2), "ends after 301 lines", str(lines))
