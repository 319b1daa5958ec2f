from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError, OutputExistsError, OutputWriteError
from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.projections import read_projections, write_projections

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def projections_of(n_rows: int = 5, n_columns: int = 9) -> Projections:
    rng = np.random.default_rng(0)
    angles = equally_spaced_angles(7)
    return Projections(
        rng.normal(size=(7, n_rows, n_columns)),
        ParallelBeam(angles_rad=angles, n_columns=n_columns, column_mm=0.7),
        Grid(
            shape=(n_rows, 6, 6),
            spacing_mm=(2.5, 0.7, 0.7),
            origin_mm=(-1.1, 2.2, 3.3),
            direction=OBLIQUE,
        ),
        0.0201,
        {"photons": 1e5, "seed": 3, "source": "synthetic"},
    )


def scan_of(geometry) -> Projections:
    """Projections of another geometry, 4 slices."""
    grid = Grid(shape=(4, 6, 6), spacing_mm=(2.0, 0.7, 0.7))
    shape = (geometry.n_views, geometry.detector_rows(grid), geometry.n_columns)
    return Projections(np.random.default_rng(1).normal(size=shape), geometry, grid, 0.02)


CONE = ConeBeam(
    angles_rad=(0.1, 1 / 3, 7.0),
    n_rows=5,
    row_mm=1.1,
    n_columns=9,
    column_mm=0.7,
    source_to_axis_mm=50.1,
    source_to_detector_mm=100.3,
    detector_shift_mm=0.3,
    detector_lift_mm=-0.2,
    axis_shift_mm=0.1,
)
FAN = FanBeam(
    angles_rad=(0.1, 1 / 3, 7.0),
    n_columns=9,
    column_mm=0.7,
    source_to_axis_mm=50.1,
    source_to_detector_mm=100.3,
    axis_shift_mm=0.1,
    curved=True,
)
SHIFTED = ParallelBeam(angles_rad=(0.1, 0.2), n_columns=9, column_mm=0.7, detector_shift_mm=0.3)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "scan.h5"
    write_projections(projections_of(), path)
    return path


def test_everything_is_read_back_exactly(written):
    expected, found = projections_of(), read_projections(written)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.values.dtype == np.float32
    assert found.geometry == expected.geometry
    assert found.grid == expected.grid
    assert found.mu_water_per_mm == expected.mu_water_per_mm
    assert found.notes == expected.notes


@pytest.mark.parametrize("geometry", [CONE, FAN, SHIFTED, CONE.to_vectors()], ids=repr)
def test_every_geometry_is_read_back_exactly(tmp_path, geometry):
    write_projections(scan_of(geometry), tmp_path / "a.h5")
    found = read_projections(tmp_path / "a.h5")
    assert found.geometry == geometry
    assert type(found.geometry) is type(geometry)
    np.testing.assert_array_equal(found.values, scan_of(geometry).values)


def test_the_fields_of_a_cone_are_the_documented_ones(tmp_path):
    write_projections(scan_of(CONE), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        attrs = file["diffusionblend"].attrs
        assert attrs["geometry"] == "cone"
        for name in ("n_rows", "row_mm", "source_to_axis_mm", "detector_lift_mm"):
            assert attrs[name] == getattr(CONE, name)
        np.testing.assert_allclose(file["exchange/theta"], np.degrees(CONE.angles_rad))
        del attrs["source_to_axis_mm"]
    refused(tmp_path / "a.h5", "lacks source_to_axis_mm")


def test_vectors_have_a_data_set_for_each_column(tmp_path):
    write_projections(scan_of(CONE.to_vectors()), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        assert "exchange/theta" not in file
        for name in ("sources_mm", "detectors_mm", "column_steps_mm", "row_steps_mm"):
            assert file[f"diffusionblend/{name}"].shape == (3, 3)
            assert file[f"diffusionblend/{name}"].attrs["units"] == "mm"
        del file["diffusionblend/row_steps_mm"]
    refused(tmp_path / "a.h5", "lacks row_steps_mm")


def written_by_version_1(path, geometry, kind: str) -> Projections:
    """Write a scan as version 1 did, attribute by attribute, and return it."""
    scan = scan_of(geometry)
    with h5py.File(path, "w") as file:
        file["exchange/data"] = scan.values
        group = file.create_group("diffusionblend")
        group.attrs.update(format_version=1, geometry=kind, mu_water_per_mm=0.02, notes="{}")
        group.attrs["n_bins"] = geometry.n_columns
        if kind == "vectors":
            for name in ("sources_mm", "detectors_mm", "row_steps_mm"):
                group[name] = np.array(getattr(geometry, name))
            group["bin_steps_mm"] = np.array(geometry.column_steps_mm)
            group.attrs.update(n_rows=geometry.n_rows, parallel=False)
        else:
            group["angles_rad"] = np.array(geometry.angles_rad)
            file["exchange/theta"] = np.degrees(geometry.angles_rad)
            group.attrs.update(
                bin_mm=geometry.column_mm, detector_shift_mm=geometry.detector_shift_mm
            )
        if kind in ("fan", "cone"):
            for name in ("source_to_axis_mm", "source_to_detector_mm", "axis_shift_mm"):
                group.attrs[name] = getattr(geometry, name)
        if kind == "fan":
            group.attrs["curved"] = geometry.curved
        if kind == "cone":
            for name in ("n_rows", "row_mm", "detector_lift_mm"):
                group.attrs[name] = getattr(geometry, name)
        group.attrs.update(
            grid_shape_zyx=np.array(scan.grid.shape),
            grid_spacing_mm_zyx=np.array(scan.grid.spacing_mm),
            grid_origin_mm_xyz=np.array(scan.grid.origin_mm),
            grid_direction=np.array(scan.grid.direction),
        )
    return scan


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [(SHIFTED, "parallel"), (FAN, "fan"), (CONE, "cone"), (CONE.to_vectors(), "vectors")],
    ids=["parallel", "fan", "cone", "vectors"],
)
def test_files_of_version_1_are_read(tmp_path, geometry, kind):
    expected = written_by_version_1(tmp_path / "old.h5", geometry, kind)
    found = read_projections(tmp_path / "old.h5")
    assert found.geometry == geometry and found.grid == expected.grid
    np.testing.assert_array_equal(found.values, expected.values)
    write_projections(found, tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5") as file:
        attrs = file["diffusionblend"].attrs
        assert attrs["format_version"] == 2 and "n_columns" in attrs and "n_bins" not in attrs


def test_what_a_file_of_version_1_lacks_is_called_by_its_old_name(tmp_path):
    written_by_version_1(tmp_path / "old.h5", CONE, "cone")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        del file["diffusionblend"].attrs["bin_mm"]
    refused(tmp_path / "old.h5", "lacks bin_mm")


def test_a_file_from_before_detectors_could_be_shifted_is_read(written):
    with h5py.File(written, "r+") as file:
        del file["diffusionblend"].attrs["detector_shift_mm"]
    assert read_projections(written).geometry == projections_of().geometry


def test_the_layout_is_the_documented_one(written):
    """Read as another program would, by the names in docs/file-layouts.md."""
    expected = projections_of()
    with h5py.File(written) as file:
        assert file["implements"].asstr()[()] == "exchange"
        assert file["exchange/data"].shape == (7, 5, 9)
        assert file["exchange/data"].dtype == np.float32
        assert file["exchange/data"].attrs["units"] == "1"
        np.testing.assert_allclose(file["exchange/theta"], np.arange(7) * 180 / 7)
        assert file["exchange/theta"].attrs["units"] == "degrees"
        np.testing.assert_array_equal(
            file["diffusionblend/angles_rad"], expected.geometry.angles_rad
        )
        attrs = dict(file["diffusionblend"].attrs)
        everything = set()
        file.visit(everything.add)
    assert everything == {
        "implements",
        "exchange",
        "exchange/data",
        "exchange/theta",
        "diffusionblend",
        "diffusionblend/angles_rad",
    }
    assert attrs["format_version"] == 2
    assert attrs["geometry"] == "parallel"
    assert (attrs["n_columns"], attrs["column_mm"]) == (9, 0.7)
    assert attrs["mu_water_per_mm"] == 0.0201
    np.testing.assert_array_equal(attrs["grid_shape_zyx"], (5, 6, 6))
    np.testing.assert_array_equal(attrs["grid_spacing_mm_zyx"], (2.5, 0.7, 0.7))
    np.testing.assert_array_equal(attrs["grid_origin_mm_xyz"], (-1.1, 2.2, 3.3))
    np.testing.assert_array_equal(attrs["grid_direction"], OBLIQUE)
    assert json.loads(attrs["notes"]) == expected.notes


def test_an_existing_file_needs_force(written):
    with pytest.raises(OutputExistsError, match="force=True"):
        write_projections(projections_of(), written)
    write_projections(projections_of(3), written, force=True)
    assert read_projections(written).values.shape == (7, 3, 9)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"scan\.h5"):
        write_projections(projections_of(), tmp_path / "scan.nii")


def test_notes_that_json_does_not_know_are_refused(tmp_path):
    for note in (np.zeros(2), float("nan")):
        projections = replace(projections_of(), notes={"a": note})
        with pytest.raises(InputError, match="notes"):
            write_projections(projections, tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(small_disk):
    with pytest.raises(OutputWriteError, match="disk is full"):
        write_projections(projections_of(200, 300), small_disk / "a.h5")
    assert list(small_disk.iterdir()) == []


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_projections(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("keep", [0.2, 0.7, 0.99])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "a.h5"
    write_projections(projections_of(50, 60), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refused(path, "copy it again")


def test_a_changed_value_is_noticed_by_its_checksum(written):
    raw = written.read_bytes()
    value = projections_of().values[3, 2].tobytes()
    assert raw.count(value) == 1
    where = raw.index(value) + 5
    written.write_bytes(raw[:where] + bytes([raw[where] ^ 0x10]) + raw[where + 1 :])
    refused(written, "damaged")


def test_what_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "a.h5").write_text("a letter")
    refused(tmp_path / "a.h5", "not an HDF5 file")
    (tmp_path / "b.h5").write_bytes(b"")
    refused(tmp_path / "b.h5", "empty")
    refused(tmp_path / "none.h5", "There is no")


def test_a_foreign_hdf5_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"] = np.zeros((7, 5, 9))
    refused(tmp_path / "a.h5", "/diffusionblend", "geometry is unknown")


def test_a_real_foreign_hdf5_is_refused(shared_data):
    refused(shared_data / "projections" / "tooth" / "tooth.h5", "/diffusionblend")


@pytest.mark.parametrize("name", ["exchange/data", "diffusionblend/angles_rad", "diffusionblend"])
def test_a_missing_data_set_is_refused(written, name):
    with h5py.File(written, "r+") as file:
        del file[name]
    refused(written, name)


@pytest.mark.parametrize(
    "name",
    [
        "format_version",
        "geometry",
        "n_columns",
        "column_mm",
        "mu_water_per_mm",
        "grid_shape_zyx",
        "grid_spacing_mm_zyx",
        "grid_origin_mm_xyz",
        "grid_direction",
    ],
)
def test_a_missing_attribute_is_refused(written, name):
    with h5py.File(written, "r+") as file:
        del file["diffusionblend"].attrs[name]
    refused(written, "lacks", name)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("format_version", 3, ("version 3", "version 1 or 2")),
        ("geometry", "spiral", ("'spiral'", "'parallel'", "'cone'")),
        ("n_columns", 10, ("(7, 5, 9)", "(7, 5, 10)")),
        ("n_columns", "many", ("'many'", "whole number")),
        ("grid_shape_zyx", [4, 6, 6], ("(7, 5, 9)", "(7, 4, 9)")),
        ("grid_spacing_mm_zyx", [1.0, 1.0], ("2 numbers",)),
        ("grid_origin_mm_xyz", 1.0, ("wrong kind",)),
        ("grid_direction", [0.0] * 9, ("Grid.direction", "perpendicular unit vectors")),
        ("grid_origin_mm_xyz", [0.0, 0.0, np.nan], ("Grid.origin_mm",)),
        ("mu_water_per_mm", -1.0, ("mu_water_per_mm",)),
        ("notes", "{", ("wrong kind",)),
    ],
)
def test_an_attribute_that_does_not_fit_is_refused(written, name, value, words):
    with h5py.File(written, "r+") as file:
        file["diffusionblend"].attrs[name] = value
    refused(written, *words)


def test_angles_that_disagree_are_refused(written):
    with h5py.File(written, "r+") as file:
        file["exchange/theta"][3] += 0.5
    refused(written, "two angles for view 3", "1.3464 radians", "77.6429 degrees")
    with h5py.File(written, "r+") as file:
        del file["exchange/theta"]
        file["exchange/theta"] = np.zeros(6)
    refused(written, "7 angles in radians and 6 in degrees")
    with h5py.File(written, "r+") as file:  # radians where degrees belong
        del file["exchange/theta"]
        file["exchange/theta"] = file["diffusionblend/angles_rad"][:]
    refused(written, "two angles for view 6")
    with h5py.File(written, "r+") as file:
        file["exchange/theta"][:] = np.nan
    refused(written, "nan degrees")


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("diffusionblend/angles_rad", "degrees"),
        ("diffusionblend/angles_rad", 3),
        ("exchange/theta", "rad"),
        ("exchange/theta", np.bytes_("rad")),
    ],
)
def test_angles_in_another_unit_are_refused(written, name, units):
    with h5py.File(written, "r+") as file:
        file[name].attrs["units"] = units
    refused(written, f"/{name}", "attribute units")


def test_angles_that_agree_but_for_turns_and_rounding_are_taken(written):
    expected = projections_of().geometry
    with h5py.File(written, "r+") as file:
        file["exchange/theta"][:] = np.round(file["exchange/theta"][:] - 360, 3)
        del file["diffusionblend/angles_rad"].attrs["units"]
        file["exchange/theta"].attrs["units"] = np.bytes_("deg")
    assert read_projections(written).geometry == expected
    with h5py.File(written, "r+") as file:
        del file["exchange/theta"]
    assert read_projections(written).geometry == expected


def test_data_that_do_not_fit_are_refused(written):
    with h5py.File(written, "r+") as file:
        del file["exchange/data"]
        file["exchange/data"] = np.zeros((6, 5, 9))
    refused(written, "(6, 5, 9)", "(7, 5, 9)")
    with h5py.File(written, "r+") as file:
        file["exchange/data"].attrs["x"] = 1
        del file["exchange/data"]
        file["exchange/data"] = np.full((7, 5, 9), np.nan)
    refused(written, "NaN")
    with h5py.File(written, "r+") as file:
        del file["exchange/data"]
        file["exchange/data"] = "text"
    refused(written, "lacks the data set /exchange/data")
