"""Opening HDF5 files, with errors that a user can mend.

What a library would fill in without a word is looked for before data are read: filters that are not
installed, and parts that lie in other files which are not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import COPY_AGAIN, WRITE_ANEW, as_input_error, reason_of
from diffusionblend.io.foreign.limits import check_claim
from diffusionblend.io.scans.hdf5_heaps import check_heaps
from diffusionblend.io.scans.links import SAME_FILE, check_links

if TYPE_CHECKING:
    import h5py

FILTERS = {
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32026: "Blosc2",
}
"""Registered numbers of filters that detectors use, by The HDF Group's list."""


@contextmanager
def open_hdf5(path: Path | str, expected: str, *, own: bool = False) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading; what fails within is reported as a truncated file.

    expected: what file was wanted, for the error's words. own: it is of our own layout, which
    leaves nothing to other files. Raises InputError, also where data lie in files that are not in
    the file's own folder or below it.
    """
    import h5py

    path = Path(path)
    check_readable(path)
    if not h5py.is_hdf5(path):
        scan = "'diffusionblend projections import' first, where this is a measured scan"
        is_scan = path.suffix.lower() in OTHER_SCANS
        raise InputError(
            f"{path} is not an HDF5 file.", expected, scan if is_scan else "check the path"
        )
    if own:  # in files of others, parts that are no longer in use may look like heaps
        check_heaps(path)
    try:
        with h5py.File(path, "r") as file:
            check_links(file, path, allowed=not own)
            yield file
    except InputError:
        raise
    except MemoryError as error:
        raise as_input_error(error, path) from error
    except Exception as error:  # of HDF5, and of NumPy on what it returns
        raise InputError(
            f"{path} could not be read: {reason_of(error)}.",
            "a whole HDF5 file",
            COPY_AGAIN,
        ) from error


OTHER_SCANS = (".npz", ".npy", ".mat", ".tif", ".tiff", ".mha", ".mhd", ".xtekct", ".txrm")


def find_dataset(group: h5py.Group, name: str, dimensions: tuple[int, ...]) -> h5py.Dataset | None:
    """A data set of numbers below a group; None where there is none.

    Raises InputError where something else has its name, or its dimensions are not among those
    named.
    """
    import h5py

    found = group.get(name)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
        raise InputError(
            f"{group.file.filename} has no numbers in {name}.",
            "a data set of them",
            WRITE_ANEW,
        )
    if found.ndim not in dimensions:
        raise InputError(
            f"{group.file.filename} has {name} of shape {found.shape}.",
            f"{' or '.join(map(str, dimensions))} dimensions",
            WRITE_ANEW,
        )
    _check_filters(found)
    _check_parts(found)
    check_dataset(found, group.file.filename, whole=False)
    return found


def _check_filters(found: h5py.Dataset) -> None:
    """Raises InputError where a filter that the data are compressed with is not installed."""
    import h5py

    plist = found.id.get_create_plist()
    used = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    with suppress(ImportError):  # it brings the usual ones, where somebody has installed it
        import hdf5plugin  # noqa: F401
    for number, _, _, name in used:
        if not h5py.h5z.filter_avail(number):
            called = FILTERS.get(number) or name.decode(errors="replace").partition(";")[0]
            raise InputError(
                f"{found.file.filename} has {found.name} compressed by the HDF5 filter {number}"
                f"{f' ({called})' if called else ''}, which is not installed.",
                "a filter that HDF5 has, such as gzip",
                "pip install hdf5plugin, and give the command again; or h5repack -f GZIP=1 where "
                "the filter is installed",
            )


def _check_parts(found: h5py.Dataset) -> None:
    """Raises InputError where a part of the data lies in another file that is not there.

    HDF5 itself reads fill values there.
    """
    folder = Path(found.file.filename).parent
    sources = found.virtual_sources() if found.is_virtual else ()
    named = {source.file_name for source in sources} - {SAME_FILE}
    missing = sorted(n for n in named if "%" not in n and not (folder / n).is_file())
    if missing:
        raise InputError(
            f"{found.file.filename} has {len(missing)} part(s) of {found.name} in other files that "
            f"are not there, such as {missing[0]}.",
            "all files of the scan",
            f"put them in their places beside {Path(found.file.filename).name}",
        )
    if found.chunks and not found.id.get_num_chunks():
        raise InputError(
            f"{found.file.filename} has {found.name} of shape {found.shape}, into which nothing "
            "was ever written.",
            "the numbers that it has room for",
            "another copy of the file; the acquisition may have failed",
        )


def check_dataset(found: h5py.Dataset, path: Path | str, *, whole: bool = True) -> None:
    """Refuse a data set that claims more than the file can hold or the memory can take.

    Chunks that are not in the file are fill values to HDF5, of any number. whole: whether all of it
    will be read. Raises InputError.
    """
    n_bytes = math.prod(found.shape) * found.dtype.itemsize
    stored = n_bytes if found.is_virtual or found.external else found.id.get_storage_size()
    what = f"numbers in {found.name}"
    check_claim(path, n_bytes, held_bytes=stored, what=what, whole=whole)


def missing_reason(group: h5py.Group, name: str) -> str:
    """Why there is nothing of a name in a group, as a part of a sentence."""
    import h5py

    parent, _, last = name.rpartition("/")
    within = group.get(parent) if parent else group
    link = within.get(last, getlink=True) if isinstance(within, h5py.Group) else None
    if isinstance(link, h5py.ExternalLink):
        return f"its data lie in {Path(link.filename).name}, which is not there"
    if isinstance(link, h5py.SoftLink):
        return f"it is a link to {link.path}, which is not there"
    return f"{group.name.rstrip('/')}/{name} is missing"


def text_attribute(found: h5py.HLObject, name: str) -> str | None:
    """An attribute as text; None where it is absent."""
    value = found.attrs.get(name)
    if value is None:
        return None
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
