"""TIFF as detectors and programs write it: types, orientation, tiles, pages, and what is no frame.

tifffile writes the files here; what is expected is the array that went in.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from diffusionblend.errors import InputError
from diffusionblend.io.scans import tiff_file
from diffusionblend.io.scans.tiff_file import read_tiff
from field_scans import HALF, check_discs, counts_of, parallel_lines, prepared

PAGES = (np.arange(5 * 16 * 32).reshape(5, 16, 32) * 7).astype(np.uint16)
GREY = {"photometric": "minisblack"}
T = {"values": "transmission", "arc_degrees": 180}


def read_back(tmp_path, array, **how):
    tifffile.imwrite(tmp_path / "a.tif", array, **how)
    return read_tiff(tmp_path / "a.tif")


def refused(tmp_path, array, *words, **how):
    with pytest.raises(InputError) as caught:
        read_back(tmp_path, array, **how)
    for word in ("a.tif", "Expected: ", *words):
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_type_of_number(tmp_path, kind, byteorder):
    values = PAGES.astype(kind) - (kind[0] == "i") * 3
    found = read_back(tmp_path, values.astype(kind), byteorder=byteorder, **GREY)
    np.testing.assert_array_equal(found.frames, values.astype(kind))


@pytest.mark.parametrize(
    "how",
    [
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzma"},
        {"rowsperstrip": 3},
        {"bigtiff": True},
        {"bigtiff": True, "byteorder": ">"},
        {"ome": True, "metadata": {"axes": "TYX"}},
    ],
)
def test_every_way_to_store_them(tmp_path, how):
    found = read_back(tmp_path, PAGES, **GREY, **how)
    np.testing.assert_array_equal(found.frames, PAGES)
    assert not found.note and not found.white_at_zero


@pytest.mark.parametrize("compressor", ["LZW", "PackBits", "Deflate"])
def test_what_other_libraries_compress(tmp_path, compressor):
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.tif"))
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(PAGES))
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").frames, PAGES)


def test_lzw_whose_numbers_another_library_reads_differently(tmp_path, monkeypatch):
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.tif"))
    writer.SetUseCompression(True)
    writer.SetCompressor("LZW")
    writer.Execute(sitk.GetImageFromArray(PAGES))
    monkeypatch.setattr(sitk, "GetArrayFromImage", lambda image: PAGES[..., None].astype("u1"))
    with pytest.raises(InputError, match=r"2560 numbers of uint16 .* 2560 of uint8"):
        read_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.T),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a.T[::-1, ::-1]),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_orientation(tmp_path, orientation, upright):
    """What the TIFF 6.0 says of where row 0 and column 0 are, as ImageOps.exif_transpose has it."""
    found = read_back(tmp_path, PAGES[0], extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(found.frames[0], upright(PAGES[0]))


def test_an_unknown_orientation(tmp_path):
    refused(tmp_path, PAGES[0], "orientation 9", extratags=[(274, 3, 1, 9, True)])


@pytest.mark.parametrize("how", [{"imagej": True}, GREY])
def test_stacks_that_list_one_page(tmp_path, how):
    found = read_back(tmp_path, PAGES, truncate=True, **how)
    np.testing.assert_array_equal(found.frames, PAGES)
    assert "lists one page and holds 5 frames" in found.note


def test_planes_and_colours(tmp_path):
    found = read_back(tmp_path, PAGES, planarconfig="separate", **GREY)
    np.testing.assert_array_equal(found.frames, PAGES)
    assert "5 planes" in found.note
    grey = np.stack([PAGES[0]] * 3, axis=-1)
    found = read_back(tmp_path, grey, photometric="rgb")
    np.testing.assert_array_equal(found.frames, PAGES[:1])
    assert "all grey" in found.note
    refused(tmp_path, np.stack(PAGES[:3], axis=-1), "is in colour", photometric="rgb")
    refused(
        tmp_path, np.stack(PAGES[:2], axis=-1), "2 numbers a pixel", planarconfig="contig", **GREY
    )
    table = np.zeros((3, 256), np.uint16)
    refused(
        tmp_path, PAGES[0].astype("u1"), "table of colours", photometric="palette", colormap=table
    )


def test_hyperstacks(tmp_path):
    found = read_back(tmp_path, PAGES, imagej=True, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(found.frames, PAGES)
    both = np.stack([PAGES, PAGES + 1], axis=1)
    refused(tmp_path, both, "'C': 2", "plain stack", imagej=True, metadata={"axes": "TCYX"})


def test_pages_of_several_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(PAGES, **GREY)
        writer.write(PAGES[0, ::2, ::2], subfiletype=1, **GREY)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif").frames, PAGES)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(PAGES, **GREY)
        writer.write(PAGES[0, 2:], **GREY)
    with pytest.raises(InputError, match="pages of 2 kinds"):
        read_tiff(tmp_path / "a.tif")


def test_numbers_that_are_none(tmp_path):
    refused(tmp_path, PAGES[0] > 9, "1 bits a sample")
    refused(tmp_path, PAGES[0].astype("c8"), "of the format 6")


def test_floats_without_their_tag_are_not_read_as_whole_numbers(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.exp(PAGES / -9e3).astype(np.float32), **GREY)
    with tifffile.TiffFile(path, mode="r+b") as file:
        offset = file.pages[0].tags[339].offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 2] = (65000).to_bytes(2, "little")  # a private tag in its place
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"(?s)as floats from 0\.\d+ to 1.*SampleFormat"):
        read_tiff(path)


def test_files_that_end_early(tmp_path):
    tifffile.imwrite(tmp_path / "whole.tif", PAGES[0])
    data = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "a.tif"
    for n in (len(data) - 1, len(data) - 500, 300, 60, 9):
        path.write_bytes(data[:n])
        with pytest.raises(InputError, match="copy it again"):
            read_tiff(path)
    tifffile.imwrite(path, PAGES, **GREY)
    path.write_bytes(path.read_bytes()[:-200])  # the last page's directory
    with pytest.raises(InputError, match="copy it again"):
        read_tiff(path)


def test_a_compression_that_needs_another_package(tmp_path, monkeypatch):
    def fails(self, **how):
        raise ValueError("<COMPRESSION.JPEG: 7> requires the 'imagecodecs' package")

    tifffile.imwrite(tmp_path / "a.tif", PAGES)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", fails)
    with pytest.raises(InputError, match=r"(?s)compressed by .*pip install imagecodecs"):
        read_tiff(tmp_path / "a.tif")
    assert tiff_file.LZW == tifffile.COMPRESSION.LZW


# ---- whole scans


def write_frames(folder, frames, how=None, change=None):
    for kind, array in frames.items():
        for i, frame in enumerate(array):
            name = {"data": "proj", "flats": "flat", "darks": "dark"}[kind]
            frame = frame if change is None else change(frame)
            tifffile.imwrite(folder / f"{name}_{i:03d}.tif", frame, **(how or {}))
    return folder


@pytest.fixture(scope="module")
def counts():
    return counts_of(parallel_lines(HALF[::2], rows=16))


@pytest.mark.parametrize(
    ("how", "change"),
    [
        ({"tile": (16, 16)}, None),
        ({}, lambda a: a.astype(np.float16)),
        ({"byteorder": ">"}, None),
        ({"photometric": "miniswhite"}, None),
        ({"photometric": "miniswhite"}, lambda a: 65535 - a),
        ({"extratags": [(274, 3, 1, 2, True)]}, lambda a: np.ascontiguousarray(a[:, ::-1])),
        ({"photometric": "rgb"}, lambda a: np.stack([a] * 3, axis=-1)),
    ],
)
def test_a_folder_of_such_frames_reconstructs(tmp_path, counts, how, change):
    done = prepared(write_frames(tmp_path, counts, how, change), {"arc_degrees": 180})
    check_discs(done, 0.04)
    white = any("MinIsWhite" in note for note in done.correction.notes)
    assert white == ("miniswhite" in how.values())


def test_stacks_reconstruct(tmp_path):
    lines = parallel_lines(HALF[::2])
    tifffile.imwrite(tmp_path / "a.tif", np.exp(-lines.astype(float)), **GREY)
    check_discs(prepared(tmp_path / "a.tif", T))
    values = np.exp(-lines).astype(np.float32)
    tifffile.imwrite(tmp_path / "b.tif", values, imagej=True, truncate=True)
    check_discs(prepared(tmp_path / "b.tif", T))


def test_a_stack_in_several_files_and_several_exposures_of_a_view(tmp_path):
    values = np.exp(-parallel_lines(HALF[::2])).astype(np.float32)
    (tmp_path / "parts").mkdir()
    for i, part in enumerate(np.array_split(values, 3)):
        tifffile.imwrite(tmp_path / "parts" / f"scan_{i}.tif", part, **GREY)
    done = prepared(tmp_path / "parts", T)
    check_discs(done)
    assert any("3 files of 30 pages" in note for note in done.correction.notes)
    (tmp_path / "views").mkdir()
    for i, view in enumerate(values):
        twice = np.stack([view * 0.9, view * 1.1])
        tifffile.imwrite(tmp_path / "views" / f"scan_{i:03d}.tif", twice, **GREY)
    np.savetxt(tmp_path / "angles.txt", np.degrees(HALF[::2]))
    listed = {"values": "transmission", "angles": tmp_path / "angles.txt", "every": 2}
    done = prepared(tmp_path / "views", listed)
    assert done.projections.values.shape[0] == 45
    assert any("2 pages of each file are averaged" in note for note in done.correction.notes)
    check_discs(done, 0.06)


def test_ome_files_that_describe_one_another(tmp_path):
    """Each file of the set says by its OME-XML that it is all of them; a page is one view."""
    tifffile.imwrite(tmp_path / "all.ome.tif", PAGES, ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(tmp_path / "all.ome.tif") as file:
        described = file.ome_metadata
    plane = "".join(
        f'<TiffData IFD="0" PlaneCount="1" FirstT="{i}"><UUID FileName="v_{i}.ome.tif">'
        f"urn:uuid:00000000-0000-0000-0000-00000000000{i}</UUID></TiffData>"
        for i in range(5)
    )
    start, end = described.index("<TiffData"), described.index("</Pixels>")
    described = described[:start] + plane + described[end:]
    (tmp_path / "all.ome.tif").unlink()
    head, name = described.split("<Image", 1)
    head = re.sub(r' UUID="[^"]*"', "", head)
    for i, page in enumerate(PAGES):
        own = head.replace("<OME ", f'<OME UUID="urn:uuid:00000000-0000-0000-0000-00000000000{i}" ')
        text = f"{own}<Image{name}"
        tifffile.imwrite(tmp_path / f"v_{i}.ome.tif", page, description=text, metadata=None)
    with tifffile.TiffFile(tmp_path / "v_1.ome.tif") as file:
        assert file.series[0].shape == PAGES.shape  # what the library gives by itself
    for i, page in enumerate(PAGES):
        np.testing.assert_array_equal(read_tiff(tmp_path / f"v_{i}.ome.tif").frames, page[None])
