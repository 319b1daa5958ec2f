"""Measured scans from whatever file or folder holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffusionblend.data.raw_scan import WHITE_LEVEL, RawScan
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.dicom.files import DICOM_SUFFIXES
from diffusionblend.io.foreign.edge import foreign_edge
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.projections import GROUP
from diffusionblend.io.scans.ct_pd import holds_dicom, is_ct_pd, read_ct_pd
from diffusionblend.io.scans.data_exchange import read_data_exchange
from diffusionblend.io.scans.hdf5 import open_hdf5
from diffusionblend.io.scans.htc2022 import read_htc2022
from diffusionblend.io.scans.nexus import is_nexus_tomography, read_nexus
from diffusionblend.io.scans.nikon import NIKON_SUFFIX, read_nikon
from diffusionblend.io.scans.numpy import read_numpy_scan
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.public_sets import is_slice, is_walnut, read_slice, read_walnut
from diffusionblend.io.scans.rtk import META_IMAGE_SUFFIXES, read_rtk_projections
from diffusionblend.io.scans.skyscan import SKYSCAN_SUFFIX, read_skyscan
from diffusionblend.io.scans.tiff import read_frames, read_tiff_projections, settled_white
from diffusionblend.io.scans.tiff_file import TIFF_SUFFIXES
from diffusionblend.io.scans.vectors import read_vectors, with_vectors
from diffusionblend.io.scans.zeiss import TXRM_SUFFIX, read_txrm

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".nexus")
TURN_DEGREES = 360.0
READERS = {
    ".mat": read_htc2022,
    NIKON_SUFFIX: read_nikon,
    SKYSCAN_SUFFIX: read_skyscan,
    TXRM_SUFFIX: read_txrm,
    ".npy": read_numpy_scan,
    ".npz": read_numpy_scan,
    **dict.fromkeys(TIFF_SUFFIXES, read_tiff_projections),
}
KNOWN = (
    "Data Exchange or NeXus HDF5, a TIFF file or folder of frames, a MATLAB file of the Helsinki "
    "Tomography Challenge 2022, RTK's projections with their geometry, Nikon's .xtekct, "
    "SkyScan's .log, Zeiss's .txrm, a folder of DICOM-CT-PD, or NumPy's .npy or .npz"
)
OTHER_IMAGES = (".nrrd", ".nhdr", ".nii", ".gz")
NOT_READ = {
    **dict.fromkeys(
        OTHER_IMAGES,
        "save projections of RTK as .mha (SimpleITK, 3D Slicer), for --rtk-geometry with their "
        "geometry .xml; others as .npy",
    ),
    **dict.fromkeys(
        (".xim", ".hnd", ".his"),
        "itk-rtk: rtkprojections writes .mha; rtkvarianprobeamgeometry, rtkvarianobigeometry or "
        "rtkelektasynergygeometry the .xml for --rtk-geometry",
    ),
    ".xrm": "the .txrm of all views",
    ".txm": "the .txrm of the projections; this is a volume reconstructed from them",
}
"""Formats of projections that are known by name and not read, and the way here."""


@reads_foreign
def read_raw_scan(source: Path | str, options: ReadOptions | None = None) -> RawScan:
    """A measured scan from a file or a folder of frames, recognised by its name and contents.

    Flats and darks that `options` name stand in for those of the source, and so does a white level
    for flats. Raises InputError for foreign, truncated and incomplete files, and where angles,
    frames and shapes disagree.
    """
    source, options = Path(source), options or ReadOptions()
    whole = replace(options, rows=None, columns=None) if options.horizontal_axis else options
    if options.vectors is not None:  # any angles, in place of which they come
        whole = replace(whole, vectors=None, arc_degrees=TURN_DEGREES)
    _check_used(source, options)
    scan = _with_named_frames(_read(source, whole), source, whole)
    scan = settled_white(scan)
    if options.horizontal_axis:
        scan = scan.turned().cropped(options.window)
    if options.vectors is not None:
        scan = with_vectors(scan, read_vectors(options.vectors, scan.detector_shape), options)
    return scan


def _check_used(source: Path, options: ReadOptions) -> None:
    """Raises InputError for options that a source of this kind has no use for."""
    suffix = source.suffix.lower()
    reader = _folder_reader(source) if source.is_dir() else None
    dicom = reader is read_ct_pd
    tiff = reader is read_tiff_projections or suffix in TIFF_SUFFIXES
    nexus = suffix in HDF5_SUFFIXES and source.is_file() and is_nexus_tomography(source)
    header = suffix in (NIKON_SUFFIX, SKYSCAN_SUFFIX)
    whole = header or suffix in (*META_IMAGE_SUFFIXES, ".mat", TXRM_SUFFIX)
    own_angles = whole or reader not in (None, read_tiff_projections)
    unused = {
        "--views": options.views is not None
        and not (source.is_dir() and reader in (read_tiff_projections, read_walnut))
        and not header,
        "--image-key": options.image_key is not None and not (tiff or nexus),
        "--sinograms": options.sinograms
        and (nexus or not (tiff or suffix in (*HDF5_SUFFIXES, ".npy", ".npz"))),
        "--rtk-geometry": options.rtk_geometry is not None
        and suffix not in (*META_IMAGE_SUFFIXES, *OTHER_IMAGES),
        "--angles": options.angles is not None and own_angles and suffix != ".mat",
        "--arc-degrees": options.arc_degrees is not None and own_angles and suffix != ".mat",
        "--vectors": options.vectors is not None and own_angles,
        "--flats": options.flats is not None and dicom,
        "--darks": options.darks is not None and dicom,
        "--white-level": options.white_level is not None and dicom,
    }
    for name, is_unused in unused.items():
        if is_unused:
            raise InputError(
                f"{name} was given for {source.name}, which has no use for it.",
                "options that belong to the source (docs/measured-projections.md)",
                f"leave out {name}",
            )


def _read(source: Path, options: ReadOptions) -> RawScan:
    """What the source itself holds."""
    if source.is_dir():
        return _folder_reader(source)(source, options)
    suffix = source.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        raise InputError(
            f"{source} is a single DICOM file, at most one view.",
            "a folder with a DICOM-CT-PD file for every view",
            f"{source.parent}",
        )
    if suffix in META_IMAGE_SUFFIXES:
        return read_rtk_projections(source, options)
    if suffix in HDF5_SUFFIXES:
        return _read_hdf5(source, options)
    if suffix in READERS:
        return READERS[suffix](source, options)
    check_readable(source)
    if suffix in NOT_READ:
        raise InputError(f"{source} is of a kind that is not read.", KNOWN, NOT_READ[suffix])
    raise InputError(
        f"{source} is of an unknown kind by its name.",
        KNOWN,
        "rename it where only its ending is wrong",
    )


def _folder_reader(source: Path) -> Callable[[Path, ReadOptions], RawScan]:
    """What reads a folder, by the files in it."""
    if holds_dicom(source):
        return read_ct_pd
    if is_walnut(source):
        return read_walnut
    return read_slice if is_slice(source) else read_tiff_projections


def _with_named_frames(scan: RawScan, source: Path, options: ReadOptions) -> RawScan:
    """The scan with the flats, darks and white level that a person named."""
    folder = source if source.is_dir() else source.parent
    n_rows = scan.detector_shape[0]
    named: dict[str, Any] = {}
    for name, given in (("flats", options.flats), ("darks", options.darks)):
        if given is not None:
            with foreign_edge(given):
                named[name] = read_frames(given, folder, options, n_rows)
    if options.white_level is not None:
        named["flats"] = np.full((1, *scan.data.shape[1:]), options.white_level, np.float32)
        named["values"] = "counts"
        named["facts"] = scan.facts | {WHITE_LEVEL: options.white_level}
    return replace(scan, **named) if named else scan


@reads_foreign
def is_scan_folder(folder: Path | str) -> bool:
    """Whether a folder of DICOM files holds views of projections, not slices."""
    return is_ct_pd(Path(folder))


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
