"""What parent and child say to each other: framed pickles, and large arrays apart from them.

The parent copies a child's arrays out of its memory. Where it cannot, they travel in a file: the
child writes them once, into memory that the system shares (or a temporary file without a name), and
the parent maps them. The parent takes nothing out of a pickle but plain values, arrays and the
dataclasses of this package.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

from diffusionblend.io.foreign.peek import address_of, give_back, parts_of, peek
from diffusionblend.memory import address_space_bytes
from diffusionblend.public_names import importing

FRAME = struct.Struct("<cQQ")
"""Kind, bytes of the pickle, number of arrays apart."""
PLACES = struct.Struct("<QQ")
"""Where an array lies in the file, or in the child's memory, and its bytes."""
PART, TAKEN, REFUSED = b"p", b"t", b"n"
"""What the parent says of arrays in the child's memory: a part is copied, all are, none can be."""
REQUEST, BEGUN, STEP, WARNING, RESULT, FAILURE = b"q", b"b", b"s", b"w", b"r", b"f"
LEAST_BYTES_APART = 1 << 16
"""Smaller arrays stay in the pickle."""
ALIGNED_TO = 64
WRITTEN_AT_ONCE = 64 << 20
PACKAGE = "diffusionblend"
PLAIN = {
    ("builtins", "complex"),
    ("builtins", "slice"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    *((f"numpy{core}.numeric", "_frombuffer") for core in (".core", "._core")),
    *(
        (f"numpy{core}.multiarray", name)
        for core in (".core", "._core")
        for name in ("_reconstruct", "scalar")
    ),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
"""What a pickle may name beside the package's dataclasses, and NumPy's own types of dtypes."""


class Gone(Exception):
    """The other side has closed the connection."""


def send(
    connection: socket.socket, kind: bytes, value: object, *, from_memory: bool = False
) -> None:
    """Send a value. Raises OSError where the other side is gone or the arrays find no room.

    from_memory: the other side, which has to be the parent, may look into this process's memory.
    """
    apart: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= LEAST_BYTES_APART:
            apart.append(raw)
        return raw.nbytes < LEAST_BYTES_APART

    body = pickle.dumps(value, protocol=5, buffer_callback=keep_inside)
    head = FRAME.pack(kind, len(body), len(apart))
    if from_memory and apart:
        taken_from = [(address_of(raw), raw.nbytes) for raw in apart]
        table = b"".join(PLACES.pack(*place) for place in taken_from)
        connection.sendall(head + table + body)
        if _are_taken(connection, taken_from):
            return
    places, end = [], 0
    for raw in apart:
        places.append((end, raw.nbytes))
        end += -(-raw.nbytes // ALIGNED_TO) * ALIGNED_TO
    table = b"".join(PLACES.pack(*place) for place in places)
    if not apart:
        connection.sendall(head + body)
        return
    descriptor = _nameless_file()
    try:
        os.ftruncate(descriptor, end)
        for raw, (start, _) in zip(apart, places, strict=True):
            _write_all(descriptor, raw, start)
        socket.send_fds(connection, [head], [descriptor])
    finally:
        os.close(descriptor)
    connection.sendall(table + body)


def _are_taken(connection: socket.socket, places: Sequence[tuple[int, int]]) -> bool:
    """Give back what the parent copies, as it does; whether it copied all, or could copy nothing.

    Arrays that share memory are kept. Raises OSError where the parent could copy only some.
    """
    ends = [(address, address + n_bytes) for address, n_bytes in sorted(places)]
    are_apart = all(end <= start for (_, end), (start, _) in pairwise(ends))
    parts = parts_of(places)
    n_copied = 0
    while (said := bytes(_read(connection, 1))) == PART:
        part = next(parts)
        n_copied += 1
        if are_apart:
            give_back(*part)
    if said != TAKEN and n_copied:
        raise OSError(f"{n_copied} parts of the arrays were copied, and no more")
    return said == TAKEN


def receive(
    connection: socket.socket, *, trusting: bool = False, child: int = 0
) -> tuple[bytes, Any]:
    """The next message: its kind and value. trusting: any pickle is taken, of the parent's.

    child: the process that sends, by its number. Raises Gone, and pickle.UnpicklingError for what
    this program does not send.
    """
    head, descriptors, _, _ = socket.recv_fds(connection, FRAME.size, 1, socket.MSG_WAITALL)
    if len(head) < FRAME.size:
        raise Gone
    kind, n_bytes, n_apart = FRAME.unpack(head)
    _check_size(n_bytes + n_apart * PLACES.size, child)
    buffers: list[memoryview] | None = []
    try:
        places = list(PLACES.iter_unpack(_read(connection, n_apart * PLACES.size)))
        if n_apart and descriptors:
            buffers = _mapped(descriptors[0], places)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    body = _read(connection, n_bytes)
    if n_apart and not descriptors:
        buffers = peek(child, places, lambda: connection.sendall(PART))
        connection.sendall(REFUSED if buffers is None else TAKEN)
        if buffers is None:  # it sends the same by a file
            return receive(connection, trusting=trusting)
    if trusting:
        return kind, pickle.loads(body, buffers=buffers)  # noqa: S301
    return kind, _Careful(io.BytesIO(body), buffers=buffers).load()


def _check_size(n_bytes: int, child: int) -> None:
    """Raises UnpicklingError for more than the child, if it is one, can have to say."""
    if not child or n_bytes < WRITTEN_AT_ONCE:
        return
    held = address_space_bytes(child)
    if held is not None and n_bytes > held:
        raise pickle.UnpicklingError(f"{n_bytes} bytes are claimed, and {held} held")


def _mapped(descriptor: int, places: Sequence[tuple[int, int]]) -> list[memoryview]:
    """The arrays' bytes, mapped: to write to them changes this process's own copy alone."""
    whole = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    return [whole[start : start + n_bytes] for start, n_bytes in places]


class _Careful(pickle.Unpickler):
    """Takes plain values, NumPy's arrays, and dataclasses of this package."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN or (module == "numpy.dtypes" and name.endswith("DType")):
            return super().find_class(module, name)
        if module.partition(".")[0] == PACKAGE and "." not in name:
            with importing():
                found = getattr(import_module(module), name, None)
            if isinstance(found, type) and is_dataclass(found) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"a reader returned {module}.{name}")


def _nameless_file() -> int:
    """A file for arrays that is gone with its last descriptor: in memory, or on the disk."""
    with suppress(AttributeError, OSError):  # Linux alone has it
        return os.memfd_create("diffusionblend-arrays", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write_all(descriptor: int, raw: memoryview, start: int) -> None:
    done = 0
    while done < raw.nbytes:
        part = raw[done : done + WRITTEN_AT_ONCE]
        done += os.pwrite(descriptor, part, start + done)


def _read(connection: socket.socket, n_bytes: int) -> bytearray:
    """So many bytes. Raises Gone."""
    whole = bytearray(n_bytes)
    view, done = memoryview(whole), 0
    while done < n_bytes:
        n = connection.recv_into(view[done:])
        if not n:
            raise Gone
        done += n
    return whole
