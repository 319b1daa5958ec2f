"""Projections of RTK with their geometry: circles, and scans whose panels tilt and move."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import SimpleITK as sitk

from diffusionblend import reconstruct
from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, VectorGeometry
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.units import hu_to_mu
from field_scans import FULL, prepared, spheres_from_source, value_at


def refused(source, *words, **read):
    with pytest.raises(InputError) as caught:
        read_raw_scan(source, ReadOptions(**read))
    assert "Expected: " in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def write_rtk(path, lines, origin, angles=None, matrix=None, pixel_mm=1.0, **parameters):
    """Parameters are one number, or one for each view."""
    angles = np.linspace(0, 2 * np.pi, len(lines), endpoint=False) if angles is None else angles
    image = sitk.GetImageFromArray(lines)
    image.SetSpacing((pixel_mm, pixel_mm, 1.0))
    image.SetOrigin((*origin, 0.0))
    sitk.WriteImage(image, str(path.with_suffix(".mha")))
    common = {"SourceToIsocenterDistance": 431, "SourceToDetectorDistance": 529} | parameters
    each = {"GantryAngle": np.degrees(angles)}
    each |= {name: common.pop(name) for name in list(common) if np.ndim(common[name])}
    views = ""
    for i in range(len(angles)):
        own = "".join(f"<{name}>{values[i]:.9g}</{name}>" for name, values in each.items())
        own += matrix if isinstance(matrix, str) else matrix[i] if matrix else ""
        views += f"<Projection>{own}</Projection>"
    head = "".join(f"<{name}>{value}</{name}>" for name, value in common.items())
    text = '<?xml version="1.0"?>\n<!DOCTYPE RTKGEOMETRY>\n<RTKThreeDCircularGeometry version="3">'
    path.with_suffix(".xml").write_text(f"{text}{head}{views}</RTKThreeDCircularGeometry>")
    return path.with_suffix(".mha"), {"rtk_geometry": path.with_suffix(".xml")}


SPHERES = ((0, 0, 0, 40, 0.02), (0, 0, 12, 10, 0.02), (20, 12, 5, 8, 0.02))


@pytest.mark.parametrize(("offset", "source"), [((0, 0), 0), ((9, -3), 0), ((4, 2), 5.0)])
def test_a_circle(tmp_path, offset, source):
    """The pixel at x of the image lies at x + ProjectionOffsetX of the panel (RTK's manual)."""
    origin = (-52.0, -28.0)
    columns, rows = (np.arange(n) + o + off for n, o, off in zip((100, 60), origin, offset))  # noqa: B905
    lines = spheres_from_source(FULL[::4], columns, rows, SPHERES, source_mm=source)
    path, read = write_rtk(
        tmp_path / "p", lines, origin,
        ProjectionOffsetX=offset[0], ProjectionOffsetY=offset[1], SourceOffsetX=source,
    )  # fmt: skip
    for more in ({}, {"rows": (14, 55), "columns": (6, 100)}):
        done = prepared(path, {**read, **more}, {})
        assert value_at(done, 0, 0, z=-3) == pytest.approx(0.02, rel=0.05)
        assert value_at(done, 0, 0, z=12) == pytest.approx(0.04, rel=0.05)
        assert value_at(done, 20, 12, z=5) == pytest.approx(0.04, rel=0.05)


def test_heights_count_from_the_isocentre_where_the_source_lies_above_it(tmp_path):
    columns, rows = np.arange(100) - 52.0, np.arange(60) - 28.0
    lifted = [(x, y, z - 6, radius, mu) for x, y, z, radius, mu in SPHERES]
    lines = spheres_from_source(FULL[::4], columns, rows - 2, lifted)
    path, read = write_rtk(
        tmp_path / "p", lines, (-52.0, -28.0), SourceOffsetY=6, ProjectionOffsetY=4
    )
    done = prepared(path, read, {})
    assert isinstance(done.projections.geometry, ConeBeam)
    assert value_at(done, 0, 0, z=-3) == pytest.approx(0.02, rel=0.05)
    assert value_at(done, 0, 0, z=12) == pytest.approx(0.04, rel=0.05)
    assert value_at(done, 20, 12, z=5) == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize("height", [0, 6])
def test_slices_are_as_wide_as_the_far_side_of_a_half_fan_measures(tmp_path, height):
    """The panel reaches from -10 to 50 mm, of which the axis' plane sees 40.55 mm at 431 / 529."""
    columns, rows = np.arange(60) - 9.5, np.arange(20) - 9.5
    lines = spheres_from_source(FULL[::4], columns, rows, ((0, 0, 0, 30, 0.02),))
    path, read = write_rtk(
        tmp_path / "p", lines, (-29.5, -9.5),
        ProjectionOffsetX=20, SourceOffsetY=height, ProjectionOffsetY=height,
    )  # fmt: skip
    done = prepared(path, read, {})
    assert done.projections.grid.in_plane_shape == (99, 99)
    assert not any("outermost columns" in note for note in done.correction.notes)


def test_geometries_that_are_refused(tmp_path):
    lines = np.ones((60, 4, 8), np.float32)
    path, read = write_rtk(tmp_path / "a", lines, (0, 0))
    refused(path, "without their geometry", "rtk_geometry=FILE.xml")
    assert read_raw_scan(path, ReadOptions(**read)).values == "lines"
    path, read = write_rtk(tmp_path / "b", lines, (0, 0), RadiusCylindricalDetector=500)
    refused(path, "RadiusCylindricalDetector from 500 to 500", "a flat panel", **read)
    one_bent = np.where(np.arange(60) == 7, -500.0, 0.0)
    path, read = write_rtk(tmp_path / "h", lines, (0, 0), RadiusCylindricalDetector=one_bent)
    refused(path, "RadiusCylindricalDetector from -500 to 0", "a flat panel", **read)
    path, read = write_rtk(tmp_path / "i", lines, (0, 0), RadiusCylindricalDetector="nan")
    refused(path, "not finite", **read)
    path, read = write_rtk(tmp_path / "g", lines, (0, 0), SourceToDetectorDistance=0)
    refused(path, "distances 431 and 0 mm", **read)
    path, read = write_rtk(tmp_path / "k", lines, (0, 0))
    bare = re.sub("<SourceToI.*tance>431</.*?>", "", read["rtk_geometry"].read_text())
    read["rtk_geometry"].write_text(bare)
    refused(path, "lacks SourceToIsocenterDistance.", **read)
    path, read = write_rtk(tmp_path / "c", lines[:9], (0, 0), angles=FULL[::4])
    refused(path, "has 9 views", "60", **read)
    wrong = "<Matrix>-529 0 0 0 0 -529 0 0 0 0 1 -500</Matrix>"
    path, read = write_rtk(tmp_path / "d", lines, (0, 0), matrix=wrong)
    refused(path, "contradicts itself", "view 0", **read)
    twice = "<ProjectionOffsetX>1</ProjectionOffsetX><ProjectionOffsetX>9</ProjectionOffsetX>"
    path, read = write_rtk(tmp_path / "j", lines, (0, 0), matrix=twice)
    refused(path, "gives ProjectionOffsetX twice", **read)
    (tmp_path / "e.xml").write_text("<Other/>")
    refused(path, "is not a geometry of RTK", rtk_geometry=tmp_path / "e.xml")
    np.save(tmp_path / "f.npy", lines)
    refused(tmp_path / "f.npy", "rtk_geometry was given", arc_degrees=180, **read)
    refused(path, "arc_degrees was given", arc_degrees=180, **read)


# ---- panels that tilt and move

ANGLES = FULL[::8]
WAVE, OTHER = np.sin(ANGLES * 2 + 0.4), np.cos(ANGLES * 3)
TILTED = {
    "InPlaneAngle": 4 + 3 * WAVE,
    "OutOfPlaneAngle": 5 * OTHER,
    "ProjectionOffsetX": 3 + 4 * OTHER,
    "ProjectionOffsetY": -2 + 3 * WAVE,
    "SourceOffsetX": 2 * WAVE,
    "SourceToIsocenterDistance": 431 + 6 * WAVE,
    "SourceToDetectorDistance": 529 + 9 * OTHER,
}
SHAPE, PIXEL_MM = (24, 40), 3.0
ONES = np.ones((len(ANGLES), *SHAPE), np.float32)
ORIGIN = tuple(-(n - 1) / 2 * PIXEL_MM for n in SHAPE[::-1])


def rays_of(view, parameters):
    """RTK's source and pixels (row, column) of a view in its own axes: its frame is turned by the
    very transform of ITK that RTK takes.
    """
    p = {name: values[view] for name, values in parameters.items()}
    turn = sitk.Euler3DTransform()
    turn.SetRotation(
        *np.radians([-p["OutOfPlaneAngle"], -np.degrees(ANGLES[view]), -p["InPlaneAngle"]])
    )
    back = np.linalg.inv(np.array(turn.GetMatrix()).reshape(3, 3))
    to_axis, to_detector = p["SourceToIsocenterDistance"], p["SourceToDetectorDistance"]
    rows, columns = (o + np.arange(n) * PIXEL_MM for o, n in zip(ORIGIN[::-1], SHAPE, strict=True))
    y, x = np.meshgrid(
        rows + p["ProjectionOffsetY"], columns + p["ProjectionOffsetX"], indexing="ij"
    )
    pixels = np.stack([x, y, np.full(x.shape, to_axis - to_detector)], axis=-1)
    return back @ (p["SourceOffsetX"], 0, to_axis), pixels @ back.T


def tilted_lines(parameters):
    lines = np.zeros((len(ANGLES), *SHAPE), np.float32)
    for view in range(len(ANGLES)):
        source, pixels = rays_of(view, parameters)
        rays = (pixels - source) / np.linalg.norm(pixels - source, axis=-1, keepdims=True)
        for x, y, z, radius, mu in SPHERES:
            to = np.array([x, z, -y]) - source
            lines[view] += 2 * mu * np.sqrt(np.maximum(radius**2 - (to @ to - (rays @ to) ** 2), 0))
    return lines


def found_at(volume, scan, x, y, z):
    """The mean of 3 x 3 x 3 voxels of a volume about a point in mm, in 1/mm."""
    place = (np.array((z, y, x)) - scan.grid.origin_mm[::-1]) / scan.grid.spacing_mm
    k, j, i = np.round(place).astype(int)
    around = volume.values[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2]
    return float(hu_to_mu(around.mean(), scan.mu_water_per_mm))


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (tuple(TILTED), {}),
        (tuple(TILTED), {"rows": (2, 23), "columns": (1, 39)}),
        (("OutOfPlaneAngle",), {}),
    ],
)
def test_panels_that_tilt_and_move(tmp_path, names, more):
    still = {name: np.zeros(len(ANGLES)) for name in TILTED}
    still |= {"SourceToIsocenterDistance": still["InPlaneAngle"] + 431}
    still |= {"SourceToDetectorDistance": still["InPlaneAngle"] + 529}
    parameters = still | {name: TILTED[name] for name in names}
    path, read = write_rtk(
        tmp_path / "p", tilted_lines(parameters), ORIGIN, pixel_mm=PIXEL_MM, **parameters
    )
    done = prepared(path, {**read, **more}, {})
    scan = done.projections
    assert isinstance(scan.geometry, VectorGeometry)
    assert "view by view" in " ".join(done.correction.notes)
    with warnings.catch_warnings():  # of the ends of the rows
        warnings.simplefilter("ignore")
        volume = reconstruct(scan, "cgls").volume
        with pytest.raises(InputError, match="VectorGeometry"):
            reconstruct(scan, "fbp")
    assert found_at(volume, scan, 0, 0, -6) == pytest.approx(0.02, rel=0.06)
    assert found_at(volume, scan, 0, 0, 12) == pytest.approx(0.04, rel=0.06)
    assert found_at(volume, scan, 20, 12, 5) == pytest.approx(0.04, rel=0.06)
    assert found_at(volume, scan, 20, -12, 5) == pytest.approx(0.02, rel=0.08)  # not mirrored


def test_a_circle_written_as_panels_is_the_same_geometry(tmp_path):
    moved = {"ProjectionOffsetX": 3.0, "ProjectionOffsetY": -2.0, "SourceOffsetX": 5.0}
    path, read = write_rtk(tmp_path / "a", ONES, ORIGIN, pixel_mm=PIXEL_MM, **moved)
    circle = prepared(path, read | {"rows": (2, 20)}, {"binning": (2, 3)}).projections
    nearly = np.where(np.arange(len(ANGLES)) == 7, 0.002, 0.0)  # degrees, just no circle
    path, read = write_rtk(
        tmp_path / "b", ONES, ORIGIN, pixel_mm=PIXEL_MM, InPlaneAngle=nearly, **moved
    )
    panels = prepared(path, read | {"rows": (2, 20)}, {"binning": (2, 3)}).projections
    assert isinstance(circle.geometry, ConeBeam) and isinstance(panels.geometry, VectorGeometry)
    assert panels.grid.shape[0] == circle.grid.shape[0]
    np.testing.assert_allclose(panels.grid.spacing_mm, circle.grid.spacing_mm, rtol=1e-9)
    assert panels.grid.origin_mm[2] == pytest.approx(circle.grid.origin_mm[2], abs=1e-3)
    expected = circle.geometry.to_vectors()
    for name in ("sources_mm", "detectors_mm", "column_steps_mm", "row_steps_mm"):
        one, other = (np.array(getattr(g, name)) for g in (panels.geometry, expected))
        np.testing.assert_allclose(one, other, atol=5e-3, err_msg=name)


def matrices_of(parameters):
    """The projection matrix of every view, by what rays_of says of three points."""
    found = []
    for view in range(len(ANGLES)):
        source, pixels = rays_of(view, parameters)
        u, v = ((pixels[p] - pixels[0, 0]) / PIXEL_MM for p in ((0, 1), (1, 0)))
        corner = pixels[0, 0] - ORIGIN[0] * u - ORIGIN[1] * v  # where the image is at 0
        inverse = np.linalg.inv(np.stack([u, v, corner - source], axis=1))
        matrix = np.column_stack([inverse, -inverse @ source])
        found.append(f"<Matrix>{' '.join(f'{n:.9g}' for n in matrix.ravel())}</Matrix>")
    return found


def test_matrices_are_compared_with_the_parameters(tmp_path):
    matrices = matrices_of(TILTED)
    path, read = write_rtk(tmp_path / "a", ONES, ORIGIN, matrix=matrices, **TILTED)
    assert read_raw_scan(path, ReadOptions(**read)).geometry.n_views == len(ANGLES)
    matrices[9], matrices[10] = matrices[10], matrices[9]
    path, read = write_rtk(tmp_path / "b", ONES, ORIGIN, matrix=matrices, **TILTED)
    refused(path, "contradicts itself", "view 9", **read)


@pytest.mark.parametrize(
    ("prepare", "word"),
    [
        ({"centre_column": 20.0}, "centre_column"),
        ({"reverse_angles": True}, "reverse_angles"),
        ({"geometry": "fan"}, "geometry"),
    ],
)
def test_what_the_panels_decide_is_not_stated(tmp_path, prepare, word):
    path, read = write_rtk(tmp_path / "a", ONES, ORIGIN, **TILTED)
    with pytest.raises(InputError, match=f"^{word} was given"):
        prepared(path, read, prepare)
    refused(path, "known view by view cannot be turned", horizontal_axis=True, **read)


def test_a_panel_that_misses_the_axis(tmp_path):
    far = {"ProjectionOffsetX": np.where(np.arange(len(ANGLES)) == 5, 90.0, 0.0)}
    path, read = write_rtk(tmp_path / "a", ONES, ORIGIN, **far)
    with pytest.raises(InputError, match="View 5 does not see the middle of the axis"):
        prepared(path, read, {})


def test_the_matrix_that_rtk_itself_makes(tmp_path):
    """By itk-rtk 2.7.0: AddProjection(431, 529, 30, 3, -2, 5, 4, 2, 1), then GetMatrix(0)."""
    matrix = (
        "-459.117635 -36.6735988 260.207694 1489 10.4551079 -525.964749 -55.6935711 -764 "
        "0.498097349 -0.0871557427 0.862729916 -431"
    )
    its = {
        "SourceToIsocenterDistance": 431,
        "SourceToDetectorDistance": 529,
        "ProjectionOffsetX": 3,
        "ProjectionOffsetY": -2,
        "OutOfPlaneAngle": 5,
        "InPlaneAngle": 4,
        "SourceOffsetX": 2,
        "SourceOffsetY": 1,
    }
    angles, written = np.radians([30.0, 30.0]), f"<Matrix>{matrix}</Matrix>"
    for name, changed in (("a", {}), ("b", {"InPlaneAngle": -4}), ("c", {"OutOfPlaneAngle": -5})):
        path, read = write_rtk(
            tmp_path / name, ONES[:2], ORIGIN, angles=angles, matrix=written, **its | changed
        )
        if changed:
            refused(path, "contradicts itself", **read)
        else:
            assert read_raw_scan(path, ReadOptions(**read)).geometry.n_views == 2


def test_a_matrix_that_projects_nowhere(tmp_path):
    nothing = "<Matrix>0 0 0 0 0 0 0 0 0 0 0 0</Matrix>"
    path, read = write_rtk(tmp_path / "a", ONES, ORIGIN, matrix=nothing)
    refused(path, "contradicts itself", "view 0", **read)
