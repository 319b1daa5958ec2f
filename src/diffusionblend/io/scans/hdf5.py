"""Opening HDF5 files, with errors that a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable

if TYPE_CHECKING:
    import h5py


@contextmanager
def open_hdf5(path: Path | str, expected: str) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading; what fails within is reported as a truncated file.

    expected: what file was wanted, for the error's words. Raises InputError.
    """
    import h5py

    path = Path(path)
    check_readable(path)
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an HDF5 file.", expected, "check the path")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{path} could not be read: {error}.",
            "a whole HDF5 file",
            "copy it again (it is truncated or damaged)",
        ) from error


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
        raise InputError(f"{group.file.filename} has no numbers in {name}.", "a data set of them")
    if found.ndim not in dimensions:
        raise InputError(
            f"{group.file.filename} has {name} of shape {found.shape}.",
            f"{' or '.join(map(str, dimensions))} dimensions",
        )
    return found


def text_attribute(found: h5py.HLObject, name: str) -> str | None:
    """An attribute as text; None where it is absent."""
    value = found.attrs.get(name)
    if value is None:
        return None
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
