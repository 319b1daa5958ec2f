"""Heaps of texts in projections whose objects lead nowhere: refused without the library."""

from __future__ import annotations

import os

import pytest

from diffusionblend.errors import InputError
from diffusionblend.io.projections import read_projections
from diffusionblend.io.scans.hdf5_heaps import check_heaps

SIGNATURE = b"GCOL"


def objects_of(content: bytes) -> list[tuple[int, int, int]]:
    """Place, number and stated size of each object of the first heap, by HDF5's description."""
    start = content.index(SIGNATURE)
    end = start + int.from_bytes(content[start + 8 : start + 16], "little")
    found, place = [], start + 16
    while place < end:
        number = int.from_bytes(content[place : place + 2], "little")
        size = int.from_bytes(content[place + 8 : place + 16], "little")
        found.append((place, number, size))
        place += size if number == 0 else 16 + (size + 7) // 8 * 8
    assert place == end
    return found


def with_size(path, place: int, size: int):
    content = bytearray(path.read_bytes())
    content[place + 8 : place + 16] = size.to_bytes(8, "little")
    path.write_bytes(content)


@pytest.fixture
def scan(scan_file, tmp_path):
    path = tmp_path / "scan.h5"
    path.write_bytes(scan_file.read_bytes())
    return path


def test_a_sound_file_passes(scan):
    objects = objects_of(scan.read_bytes())
    assert objects[-1][1] == 0 and len(objects) > 1
    check_heaps(scan)
    assert len(read_projections(scan)) == 6


@pytest.mark.parametrize(
    ("which", "size"),
    [(-1, 0), (-1, 96), (-1, 1 << 20), (0, (1 << 64) - 16), (0, (1 << 64) - 64), (1, 1 << 40)],
)
def test_objects_that_lead_nowhere_are_refused_at_once(scan, which, size):
    """The fourth of these is an object of length 0 once the library has added its header."""
    place, _, _ = objects_of(scan.read_bytes())[which]
    with_size(scan, place, size)
    before = os.times()
    with pytest.raises(InputError, match="a heap of texts") as caught:
        read_projections(scan)
    spent = os.times()
    assert caught.value.try_
    assert sum(spent[:4]) - sum(before[:4]) < 2.5, "the clock of the child has ended it"


def test_other_files_are_left_alone(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x04" + SIGNATURE + bytes(8000))
    check_heaps(path)  # lengths of 4 bytes
    path.write_bytes(SIGNATURE + b"\x01\0\0\0" + (4096).to_bytes(8, "little") + bytes(8000))
    check_heaps(path)
