"""Measured scans from whatever file or folder holds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffusionblend.data.raw_scan import RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.projections import GROUP
from diffusionblend.io.scans.data_exchange import read_data_exchange
from diffusionblend.io.scans.hdf5 import open_hdf5
from diffusionblend.io.scans.htc2022 import read_htc2022
from diffusionblend.io.scans.nexus import is_nexus_tomography, read_nexus
from diffusionblend.io.scans.numpy import read_numpy_scan
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.tiff import (
    TIFF_SUFFIXES,
    read_frames,
    read_tiff_projections,
)

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".nexus")
READERS = {
    ".mat": read_htc2022,
    ".npy": read_numpy_scan,
    ".npz": read_numpy_scan,
    **dict.fromkeys(TIFF_SUFFIXES, read_tiff_projections),
}
KNOWN = (
    "Data Exchange or NeXus HDF5, a TIFF file or folder of frames, a MATLAB file of the Helsinki "
    "Tomography Challenge 2022, or NumPy's .npy or .npz"
)


@reads_foreign
def read_raw_scan(source: Path | str, options: ReadOptions | None = None) -> RawScan:
    """A measured scan from a file or a folder of frames, recognised by its name and contents.

    Flats and darks that `options` name stand in for those of the source. Raises InputError for
    foreign, truncated and incomplete files, and where angles, frames and shapes disagree.
    """
    source, options = Path(source), options or ReadOptions()
    if source.is_dir():
        scan = read_tiff_projections(source, options)
    elif source.suffix.lower() in HDF5_SUFFIXES:
        scan = _read_hdf5(source, options)
    elif source.suffix.lower() in READERS:
        scan = READERS[source.suffix.lower()](source, options)
    else:
        check_readable(source)
        raise InputError(f"{source} is of an unknown kind by its name.", KNOWN)
    folder = source if source.is_dir() else source.parent
    named = {
        name: read_frames(given, folder, options.window)
        for name, given in (("flats", options.flats), ("darks", options.darks))
        if given is not None
    }
    return replace(scan, **named) if named else scan


@reads_foreign
def is_projections_file(path: Path | str) -> bool:
    """Whether a file is one of projections as this program writes them, with their geometry."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() not in HDF5_SUFFIXES:
        return False
    with open_hdf5(path, "an HDF5 file") as file:
        return GROUP in file


def _read_hdf5(source: Path, options: ReadOptions) -> RawScan:
    """A scan by Data Exchange or NXtomo, whichever the file is."""
    if is_projections_file(source):
        raise InputError(
            f"{source} is a projections file already.",
            KNOWN,
            f"diffusionblend projections info {source.name}",
        )
    if is_nexus_tomography(source):
        return read_nexus(source, options)
    return read_data_exchange(source, options)
