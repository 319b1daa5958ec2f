"""Projections from and to HDF5: Data Exchange's groups, and one of our own for the geometry.

The layout is described in docs/file-layouts.md. Nothing of the truth is stored.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusionblend import __version__
from diffusionblend.data.projections import Projections, shape_error
from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry import Geometry
from diffusionblend.geometry.base import (
    TYPE_KEY,
    fields_of,
    geometry_class,
    registered_geometries,
)
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.atomic import atomic_output
from diffusionblend.io.foreign.edge import COPY_AGAIN, foreign_edge
from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.io.scans.hdf5 import check_dataset, open_hdf5

if TYPE_CHECKING:
    import h5py

FORMAT_VERSION = 2
FIRST_VERSION_NAMES = {
    "n_columns": "n_bins",
    "column_mm": "bin_mm",
    "column_steps_mm": "bin_steps_mm",
}
"""What version 1 calls the fields of a geometry; it is still read."""
GROUP = "diffusionblend"
DATA = "exchange/data"
MEASURED = f"{GROUP}/measured"
"""Which rays count, (view, row, column), where not all do."""
PHOTONS = f"{GROUP}/photons"
"""Incident photons, (view, row or 1, column), where they differ from pixel to pixel."""
THETA_DEGREES = "exchange/theta"
ANGLES_RAD = f"{GROUP}/angles_rad"
ANGLE_UNITS = {
    ANGLES_RAD: ("rad", "radian", "radians"),
    THETA_DEGREES: ("deg", "degree", "degrees"),
}
"""What the attribute `units` of the angles may say, where they have one."""
ANGLE_TOLERANCE_DEGREES = 0.01
"""Both data sets of angles may differ by so much, whole turns aside, since one may be rounded."""
UNITS = {"_rad": "rad", "_mm": "mm"}
"""Of a data set of the geometry's, by the end of its name."""
PROJECTION_SUFFIXES = (".h5", ".hdf5")


def check_projections_suffix(path: Path | str) -> None:
    """Raises InputError unless projections can be written to `path`; call it before long work."""
    if Path(path).suffix.lower() not in PROJECTION_SUFFIXES:
        raise InputError(
            f"Projections cannot be written as {Path(path).name}.",
            f"a name that ends in {' or '.join(PROJECTION_SUFFIXES)}",
            Path(path).with_suffix(".h5").name,
        )


def write_projections(projections: Projections, path: Path | str, force: bool = False) -> None:
    """Write projections with their geometry, grid and units, whole or not at all.

    Values (view, row, column) float32 are kept exactly, with a checksum per view. Raises
    OutputExistsError, OutputWriteError, and InputError for notes that are not plain values.
    """
    check_kind(projections, Projections, "The scan to write")
    check_projections_suffix(path)
    with atomic_output(path, force=force) as temporary:
        # HDF5 1.14 crashes the whole process where the disk fills up under a chunked file, so the
        # file is made in memory and written by Python, which raises an error instead.
        temporary.write_bytes(_as_hdf5(projections))


def read_projections(path: Path | str) -> Projections:
    """Read projections that `write_projections` (or a script after the same layout) wrote.

    Raises InputError for a file that is not HDF5, truncated, without the geometry, of an unknown
    version, whose shape does not fit its geometry, or whose angles in degrees and radians disagree.
    """
    path = Path(path)
    stored_fields = {name: _required(cls) for name, cls in registered_geometries().items()}
    found = _described(path, stored_fields)
    kind = found.geometry[TYPE_KEY]
    with _named(path):
        if kind not in stored_fields:  # of a package that nothing has imported yet
            found = _described(path, {str(kind): _required(geometry_class(kind))})
        geometry, grid = _places_of(found, path)
        values, *others = _values(path)
        with foreign_edge(path):
            return Projections(values, geometry, grid, found.mu_water_per_mm, found.notes, *others)


def read_grid_and_source(path: Path | str) -> tuple[Grid, str]:
    """The grid of a projections file and where the scan is from, without the rest of the file.

    "" for a scan of unknown source. Raises InputError as `read_projections` does.
    """
    path = Path(path)
    fields_of_known = {name: _required(cls) for name, cls in registered_geometries().items()}
    found = _described(path, fields_of_known)
    with _named(path), foreign_edge(path):
        known = found.geometry[TYPE_KEY] in fields_of_known
        grid = _places_of(found, path)[1] if known else Grid(**found.grid)
        return grid, str(found.notes.get("source", ""))


def _places_of(found: _Described, path: Path) -> tuple[Geometry, Grid]:
    """The geometry and the grid of a file. Raises InputError where its values do not fit them."""
    with foreign_edge(path):
        geometry, grid = Geometry.from_dict(found.geometry), Grid(**found.grid)
        expected = (geometry.n_views, geometry.detector_rows(grid), geometry.n_columns)
    if found.shape != expected:
        raise shape_error(found.shape, geometry, grid)
    return geometry, grid


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of what a file contains with the file's name."""
    try:
        yield
    except InputError as error:
        if str(path) in error.got:
            raise
        raise InputError(f"{path}: {error.got}", error.expected, error.try_) from error


def _required(cls: type[Geometry]) -> dict[str, bool]:
    """The fields of a geometry, and whether a file must have them."""
    return {f.name: f.default is f.default_factory is MISSING for f in fields_of(cls)}


@dataclass(frozen=True)
class _Described:
    """All that a file contains but its values, as plain values."""

    shape: tuple[int, ...]
    geometry: dict[str, object]
    grid: dict[str, tuple]
    mu_water_per_mm: float
    notes: dict[str, object]


@reads_foreign
def _described(path: Path, stored_fields: dict[str, dict[str, bool]]) -> _Described:
    """What the file says of its values. Raises InputError for what is missing or no number.

    stored_fields: the fields of every known geometry, and whether they are required. They are known
    here alone: a geometry of another package is none of the process that reads.
    """
    with open_hdf5(path, "projections as `simulate` writes them", own=True) as file:
        return _description(file, path, stored_fields)


@reads_foreign
def _values(path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The line integrals, which count, None for all, and the photons, None for one number."""
    with open_hdf5(path, "projections as `simulate` writes them", own=True) as file:
        measured = _dataset(file, MEASURED, path) != 0 if MEASURED in file else None
        photons = _dataset(file, PHOTONS, path) if PHOTONS in file else None
        return _dataset(file, DATA, path), measured, photons


def _as_hdf5(projections: Projections) -> bytes:
    """The file's bytes."""
    import h5py

    try:
        notes = json.dumps(projections.notes, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The projections' notes cannot be stored: {error}.",
            "finite plain values (JSON)",
            "lists, mappings, texts and finite numbers",
        ) from error
    geometry, grid = projections.geometry.to_dict(), projections.grid
    kind = geometry.pop(TYPE_KEY)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["implements"] = "exchange"
        data = file.create_dataset(
            DATA,
            data=projections.values,
            chunks=(1, *projections.values.shape[1:]),
            fletcher32=True,
        )
        data.attrs.update(
            units="1", axes="view:row:column", description="line integrals -ln(I/I0), not counts"
        )
        group = file.create_group(GROUP)
        for name, value in geometry.items():
            _store(group, name, value)
        if projections.measured is not None:
            file.create_dataset(
                MEASURED, data=projections.measured.astype(np.uint8), compression="gzip"
            )
        if projections.photons is not None:
            file[PHOTONS] = projections.photons
        if ANGLES_RAD in file:
            file[THETA_DEGREES] = np.degrees(geometry["angles_rad"])
            file[THETA_DEGREES].attrs["units"] = "degrees"
        group.attrs.update(
            format_version=FORMAT_VERSION,
            written_by=f"diffusionblend {__version__}",
            geometry=kind,
            mu_water_per_mm=projections.mu_water_per_mm,
            grid_shape_zyx=np.array(grid.shape, dtype=np.int64),
            grid_spacing_mm_zyx=np.array(grid.spacing_mm),
            grid_origin_mm_xyz=np.array(grid.origin_mm),
            grid_direction=np.array(grid.direction),
            notes=notes,
        )
    return buffer.getvalue()


def _store(group: h5py.Group, name: str, value: object) -> None:
    """Keep a field of a geometry: several numbers as a data set, one number or text as attribute.

    Raises InputError for anything else.
    """
    values = np.asarray(value)
    if values.dtype.kind not in ("fiub" if values.ndim else "fiubU"):
        raise InputError(
            f"The geometry's {name} cannot be stored: {value!r}.",
            "a number, text, or numbers",
            "fields of such values",
        )
    if not values.ndim:
        group.attrs[name] = value
        return
    group[name] = values
    for ending, units in UNITS.items():
        if name.endswith(ending):
            group[name].attrs["units"] = units


def _description(
    file: h5py.File, path: Path, stored_fields: dict[str, dict[str, bool]]
) -> _Described:
    """What an open file says of its values; raises InputError for what is missing."""
    import h5py

    if not isinstance(file.get(GROUP), h5py.Group):
        raise InputError(
            f"{path} is an HDF5 file without the group /{GROUP}, so its geometry is unknown.",
            "projections as `simulate` writes them (docs/file-layouts.md)",
            "write them from Python with diffusionblend.io.projections.write_projections",
        )
    attrs = file[GROUP].attrs
    version = _attribute(attrs, "format_version", path)
    if np.ndim(version) or version not in (1, FORMAT_VERSION):
        raise InputError(
            f"{path} has format version {version}.",
            f"version 1 or {FORMAT_VERSION}",
            "a newer diffusionblend",
        )
    data = _numbers(file, DATA, path)
    geometry = _described_geometry(file, path, stored_fields)
    try:
        return _Described(
            shape=tuple(data.shape),
            geometry=geometry,
            grid={
                "shape": tuple(_attribute(attrs, "grid_shape_zyx", path).tolist()),
                "spacing_mm": tuple(_attribute(attrs, "grid_spacing_mm_zyx", path).tolist()),
                "origin_mm": tuple(_attribute(attrs, "grid_origin_mm_xyz", path).tolist()),
                "direction": tuple(_attribute(attrs, "grid_direction", path).tolist()),
            },
            mu_water_per_mm=float(_attribute(attrs, "mu_water_per_mm", path)),
            notes=json.loads(attrs.get("notes", "{}")),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} has a field of the wrong kind: {error}.",
            "the layout of docs/file-layouts.md",
            COPY_AGAIN,
        ) from error


def _angles_rad(file: h5py.File, path: Path) -> np.ndarray:
    """The angles (view,) in radians; raises InputError where those in degrees are others."""
    angles = np.ravel(_dataset(file, ANGLES_RAD, path))
    _check_angle_units(file, ANGLES_RAD, path)
    if THETA_DEGREES not in file:
        return angles
    theta = np.ravel(_dataset(file, THETA_DEGREES, path))
    _check_angle_units(file, THETA_DEGREES, path)
    expected = f"the same angles in /{ANGLES_RAD}, in radians, and /{THETA_DEGREES}, in degrees"
    if theta.shape != angles.shape:
        raise InputError(
            f"{path} has {len(angles)} angles in radians and {len(theta)} in degrees.",
            expected,
            COPY_AGAIN,
        )
    apart = np.abs((np.degrees(angles) - theta + 180.0) % 360.0 - 180.0)
    if not (apart <= ANGLE_TOLERANCE_DEGREES).all():  # NaN fails this too
        view = int(np.argmax(apart))
        raise InputError(
            f"{path} has two angles for view {view}: {angles[view]:g} radians, which are "
            f"{np.degrees(angles[view]):g} degrees, and {theta[view]:g} degrees.",
            expected,
            f"leave out /{THETA_DEGREES}, which is for other programs",
        )
    return angles


def _check_angle_units(file: h5py.File, name: str, path: Path) -> None:
    """Raises InputError where angles say that they are in another unit; they may say nothing."""
    units = file[name].attrs.get("units")
    units = units.decode(errors="replace") if isinstance(units, bytes) else units
    if units is not None and str(units).strip().lower() not in ANGLE_UNITS[name]:
        raise InputError(
            f"{path} has /{name} in {units!r} by its attribute units.",
            f"{ANGLE_UNITS[name][0]!r}",
            "convert the angles, or correct the attribute",
        )


def _described_geometry(
    file: h5py.File, path: Path, stored_fields: dict[str, dict[str, bool]]
) -> dict[str, object]:
    """The geometry in an open file as `Geometry.from_dict` takes it; what has a default may lack.

    Raises InputError for a missing field; an unknown geometry comes back as its name alone.
    """
    group = file[GROUP]
    kind = _attribute(group.attrs, "geometry", path)
    if not isinstance(kind, str):
        raise InputError(
            f"{path} has {kind!r} for the name of its geometry.",
            "text",
            COPY_AGAIN,
        )
    described: dict[str, object] = {TYPE_KEY: kind}
    old = FIRST_VERSION_NAMES if group.attrs["format_version"] == 1 else {}
    for name, is_required in stored_fields.get(kind, {}).items():
        stored = old.get(name, name)
        place = f"{GROUP}/{stored}"
        if place == ANGLES_RAD:
            described[name] = _angles_rad(file, path)
        elif stored in group:
            described[name] = _dataset(file, place, path)
        elif stored in group.attrs:
            described[name] = _attribute(group.attrs, stored, path)
        elif is_required:
            raise InputError(
                f"{path} lacks {stored} of the geometry, as a data set or an attribute of "
                f"/{GROUP}.",
                "the layout of docs/file-layouts.md",
                COPY_AGAIN,
            )
    return described


def _attribute(attrs: h5py.AttributeManager, name: str, path: Path) -> Any:
    """An attribute of our group; raises InputError where it is missing."""
    if name not in attrs:
        raise InputError(
            f"{path} lacks the attribute {name} of /{GROUP}.",
            "the layout of docs/file-layouts.md",
            "'diffusionblend projections import', where it is a measured scan; or copy it again",
        )
    return attrs[name]


def _dataset(file: h5py.File, name: str, path: Path) -> np.ndarray:
    """A data set's numbers; raises InputError where it is missing, or claims what it lacks."""
    found = _numbers(file, name, path)
    check_dataset(found, path)
    return found[()]


def _numbers(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """A data set of numbers; raises InputError where it is missing or holds none."""
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
        raise InputError(
            f"{path} lacks the data set /{name}.",
            "numbers there (docs/file-layouts.md)",
            "'diffusionblend projections import', where it is a measured scan; or copy it again",
        )
    return found
