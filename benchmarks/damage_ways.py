"""Ways to damage a file: its bytes, what it packs, and the fields of its header.

Every way is fixed by its random generator. Packed files are damaged inside, with the checksums made
right; DICOM elements, HDF5 attributes, types and links, and JSON values become something odd.
"""

from __future__ import annotations

import gzip
import json
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np

HEAD_BYTES = 512
"""Half of the damage lies in the first so many bytes, where headers are."""
STRUCTURED_SHARE = 0.5
"""Of the cases of formats with fields or packed parts that are damaged there."""
ODD_TEXTS = (b"0", b"-1", b"1e308", b"nan", b"2147483648", b"99999999999999999999", b"", b"\\")
ODD_VALUES = (0, -1, 1e308, float("nan"), float("inf"), 2**31, 10**20, "", "x", "\x1b[2J", None, [])
NEST = 5000
"""Levels of brackets beyond what JSON's reader takes."""
HDF5, ZIP, GZIP = b"\x89HDF", b"PK", b"\x1f\x8b"


def damage(path: Path, rng: np.random.Generator) -> None:
    """Damage a file, or one file of a folder, in place."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        path = files[int(rng.integers(len(files)))]
    content = path.read_bytes()
    inside = _way_inside(content, path)
    if inside is not None and rng.random() < STRUCTURED_SHARE:
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inside(path, content, rng)  # what cannot be written so is damaged by its bytes
            if path.read_bytes() != content:
                return
    path.write_bytes(damaged(content, rng))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one of them, or a range, changed, cut, inserted or moved."""
    end = min(HEAD_BYTES, len(content)) if rng.integers(2) else len(content)
    place, length = int(rng.integers(max(end, 1))), int(rng.integers(1, 64))
    before, after = content[:place], content[place:]
    ways = {
        "bit": lambda: before + bytes([after[0] ^ (1 << int(rng.integers(8)))]) + after[1:],
        "byte": lambda: before + bytes([int(rng.integers(256))]) + after[1:],
        "cut": lambda: before,
        "zeros": lambda: before + bytes(len(after[:length])) + after[length:],
        "ones": lambda: before + b"\xff" * len(after[:length]) + after[length:],
        "number": lambda: before + _one_of(ODD_TEXTS, rng) + after[1:],
        "inserted": lambda: before + rng.bytes(length) + after,
        "deleted": lambda: before + after[length:],
        "spliced": lambda: before + content[int(rng.integers(len(content))) :],
        "appended": lambda: content + rng.bytes(length),
    }
    if not content:
        return rng.bytes(length)
    return ways[_one_of(list(ways), rng)]()


def _one_of(choices, rng: np.random.Generator):
    return choices[int(rng.integers(len(choices)))]


def _way_inside(content: bytes, path: Path) -> Callable | None:
    """What damages the fields or the packed parts of a file; None where it has neither."""
    if content[:4] == HDF5:
        return _hdf5
    if content[:2] == ZIP:
        return _zip
    if content[:2] == GZIP:
        return _gzip
    if content[128:132] == b"DICM":
        return _dicom
    if path.suffix == ".safetensors":
        return _safetensors
    if path.suffix == ".jsonl":
        return _json_lines
    return _json if content[:1] == b"{" and path.suffix == ".json" else None


def _gzip(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.write_bytes(gzip.compress(damaged(gzip.decompress(content), rng), mtime=0))


def _zip(path: Path, content: bytes, rng: np.random.Generator) -> None:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {i.filename: (archive.read(i), i.compress_type) for i in archive.infolist()}
    name = _one_of(list(members), rng)
    with zipfile.ZipFile(path, "w") as archive:
        for member, (data, packing) in members.items():
            archive.writestr(
                zipfile.ZipInfo(member), damaged(data, rng) if member == name else data, packing
            )


def _dicom(path: Path, content: bytes, rng: np.random.Generator) -> None:
    import pydicom
    from pydicom.dataelem import RawDataElement

    dataset = pydicom.dcmread(BytesIO(content))
    part = dataset.file_meta if rng.random() < 0.2 else dataset
    tag = _one_of(list(part.keys()), rng)
    if rng.random() < 0.3:
        del part[tag]
    else:
        was = part[tag]
        odd = _one_of((*ODD_TEXTS, bytes(2), b"\xff" * 8, b"1\\2\\3", b"\x1b[2J"), rng)
        odd += b" " * (len(odd) % 2)
        raw = RawDataElement(was.tag, was.VR, len(odd), odd, 0, False, True)
        part._dict[tag] = raw
    dataset.save_as(path, enforce_file_format=False)


def _hdf5(path: Path, content: bytes, rng: np.random.Generator) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        place = _one_of(["/", *places], rng)
        held = file[place]
        if held.attrs and rng.random() < 0.6:
            name = _one_of(sorted(held.attrs), rng)
            _set_attribute(held.attrs, name, rng)
        elif isinstance(held, h5py.Dataset):
            _set_dataset(file, place, rng)
        elif place != "/":
            del file[place]
            file[place] = h5py.SoftLink(_one_of(["/", "/nowhere", *places], rng))


def _set_attribute(attributes, name: str, rng: np.random.Generator) -> None:
    import h5py

    was = np.asarray(attributes[name])
    ways = {
        "gone": lambda: attributes.pop(name),
        "odd": lambda: attributes.create(name, _one_of(ODD_VALUES[:9], rng)),
        "many": lambda: attributes.create(name, np.repeat(was.ravel(), 3)),
        "fewer": lambda: attributes.create(name, was.ravel()[:-1]),
        "array": lambda: attributes.create(name, np.zeros((2, 3))),
        "empty": lambda: attributes.create(name, h5py.Empty("f8")),
        "huge": lambda: attributes.create(name, np.full(was.shape, 2**40)),
        "negative": lambda: attributes.create(name, -np.ones(was.shape)),
        "not a number": lambda: attributes.create(name, np.full(was.shape, np.nan)),
        "bytes": lambda: attributes.create(name, np.bytes_(rng.bytes(8) + b"x")),
    }
    ways[_one_of(list(ways), rng)]()


def _set_dataset(file, place: str, rng: np.random.Generator) -> None:
    import h5py

    shape = file[place].shape
    values = file[place][()]
    del file[place]
    huge = (*shape[:-1], 1 << 34) if shape else (1 << 34,)
    kinds = ("i1", "u2", "f2", "c8", "S3", "bool", "i8", h5py.string_dtype())
    ways = {
        "gone": lambda: None,
        "huge": lambda: file.create_dataset(place, huge, "f4", chunks=True),
        "flat": lambda: file.create_dataset(place, data=np.ravel(values)),
        "none": lambda: file.create_dataset(place, (*shape[:-1], 0) if shape else (0,), "f4"),
        "typed": lambda: file.create_dataset(place, shape, _one_of(kinds, rng)),
        "not a number": lambda: file.create_dataset(place, data=np.full(shape, np.nan)),
        "group": lambda: file.create_group(place),
        "linked": lambda: file.__setitem__(place, h5py.ExternalLink("/etc/passwd", "x")),
        "looped": lambda: file.__setitem__(place, h5py.SoftLink(f"/{place}")),
        "empty": lambda: file.__setitem__(place, h5py.Empty("f4")),
        "outside": lambda: file.create_dataset(
            place, (64,), "u1", external=[("/etc/passwd", 0, 64)]
        ),
    }
    ways[_one_of(list(ways), rng)]()


def _json(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.write_text(_odd_json(json.loads(content), rng))


def _json_lines(path: Path, content: bytes, rng: np.random.Generator) -> None:
    lines = content.decode().splitlines()
    number = int(rng.integers(len(lines)))
    lines[number] = _odd_json(json.loads(lines[number]), rng)
    path.write_text("\n".join(lines) + "\n")


def _safetensors(path: Path, content: bytes, rng: np.random.Generator) -> None:
    length = int.from_bytes(content[:8], "little")
    header = _odd_json(json.loads(content[8 : 8 + length]), rng).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


def _odd_json(value: object, rng: np.random.Generator) -> str:
    """The JSON text of a value, of which one part, at any depth, is another."""
    if rng.random() < 0.03:
        return "[" * NEST + "]" * NEST

    def odd(part: object) -> object:
        if isinstance(part, dict) and part and rng.random() < 0.85:
            name = _one_of(sorted(part), rng)
            if rng.random() < 0.15:
                return {k: v for k, v in part.items() if k != name}
            return part | {name: odd(part[name])}
        if isinstance(part, list) and part and rng.random() < 0.7:
            place = int(rng.integers(len(part)))
            return [*part[:place], odd(part[place]), *part[place + 1 :]]
        return _one_of((*ODD_VALUES, {}, [part, part], [0] * 1000, True, "~", "/etc"), rng)

    return json.dumps(odd(value))
