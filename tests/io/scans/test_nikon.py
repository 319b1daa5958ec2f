"""A Nikon scan as its machine would write it: read, and its phantom reconstructed to 1 %."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analytic import Ellipsoid
from diffusionblend import reconstruct
from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from measured_scan import write_tiff
from operator_properties import random_array

ROWS, COLUMNS, VIEWS, PIXEL_MM = 28, 56, 120, 1.5
SOURCE_MM, DETECTOR_MM, OFFSET_MM, FIRST_DEGREES = 200.0, 300.0, 0.7, 25.0
WHITE = 60_000.0
BALL = Ellipsoid(centre_mm=(9.0, -6.0, 3.0), semi_axes_mm=(9, 9, 7))
"""In the sample's own axes in the first view: x to the right seen from the source, z upwards."""
HEADER = {
    "Name": "ball",
    "InputName": "ball_",
    "InputFolderName": "",
    "Projections": VIEWS,
    "DetectorPixelsX": COLUMNS,
    "DetectorPixelsY": ROWS,
    "DetectorPixelSizeX": PIXEL_MM,
    "DetectorPixelSizeY": PIXEL_MM,
    "SrcToObject": SOURCE_MM,
    "SrcToDetector": DETECTOR_MM,
    "ObjectOffsetX": OFFSET_MM,
    "ObjectTilt": 0,
    "ObjectRoll": 0,
    "InitialAngle": FIRST_DEGREES,
    "AngularStep": 360 / VIEWS,
    "WhiteLevel": WHITE,
}


def frames() -> np.ndarray:
    """What the detector counts (view, row, column), in the laboratory's axes, z upwards.

    The source is at the origin, the beam along y, the axis of the sample at (-offset, distance).
    Seen from behind the detector, column 0 lies at the highest x and row 0 at the top.
    """
    x = -(np.arange(COLUMNS) - (COLUMNS - 1) / 2) * PIXEL_MM
    z = -(np.arange(ROWS) - (ROWS - 1) / 2) * PIXEL_MM
    x, z = np.meshgrid(x, z)
    ahead = np.stack([x, np.full_like(x, DETECTOR_MM), z], axis=-1)
    source = np.array((OFFSET_MM, -SOURCE_MM, 0.0))  # from the axis
    counts = []
    for view in range(VIEWS):
        turned = -np.radians(FIRST_DEGREES + 360 / VIEWS * view)  # clockwise, seen from above
        c, s = np.cos(turned), np.sin(turned)
        to_sample = np.array(((c, s, 0.0), (-s, c, 0.0), (0.0, 0.0, 1.0)))
        points = np.broadcast_to(to_sample @ source, ahead.shape)
        lines = BALL.line_integrals(points, ahead @ to_sample.T)
        counts.append(WHITE * np.exp(-lines))
    return np.stack(counts)


def write_header(path, **changes) -> None:
    lines = [f"{name}={value}" for name, value in (HEADER | changes).items() if value is not None]
    path.write_text("[XTekCT]\r\n" + "\r\n".join(lines) + "\r\n[Xrays]\r\nXraykV=140\r\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("nikon")
    for i, frame in enumerate(frames()):
        write_tiff(made / f"ball_{i + 1:04d}.tif", frame)
    return made


@pytest.mark.filterwarnings("ignore:The detector is too small")  # for the first and last slices
def test_its_ball_comes_back_where_it_is_to_one_percent(folder):
    write_header(folder / "ball.xtekct")
    scan = read_raw_scan(folder / "ball.xtekct")
    assert scan.data.shape == (VIEWS, ROWS, COLUMNS) and scan.source_to_axis_mm == SOURCE_MM
    done = prepare_scan(scan, PrepareSettings(mu_water_per_mm=0.02)).projections
    volume = reconstruct(done, "fbp").volume
    mu = 0.02 * (1 + volume.values / 1000)
    # our columns are seen from behind and our z is downwards: x and z change their signs
    x, y, z = BALL.centre_mm
    ours = Ellipsoid(centre_mm=(-x, y, -z), semi_axes_mm=(6, 6, 4))
    core = ours.picture(volume.grid.shape, volume.grid.spacing_mm) > 0.0199
    assert core.sum() > 200
    np.testing.assert_allclose(mu[core].mean(), 0.02, rtol=0.01)
    assert mu[core].std() < 0.02 * 0.02
    whole = replace(ours, semi_axes_mm=(11, 11, 9))
    outside = whole.picture(volume.grid.shape, volume.grid.spacing_mm) == 0
    assert np.abs(mu[outside]).mean() < 0.02 * 0.03


@pytest.mark.filterwarnings("ignore:The detector is too small")
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sample_that_turns_the_other_way_is_told(folder, reverse):
    """By opposite rays, which one sense of rotation alone makes agree."""
    write_header(folder / "ball.xtekct")
    scan = read_raw_scan(folder / "ball.xtekct")
    assert "--reverse-angles" in " ".join(scan.notes)  # of an arc nothing else tells
    notes = prepare_scan(scan, PrepareSettings(reverse_angles=reverse)).correction.notes
    told = [note for note in notes if "turns the other way" in note]
    assert len(told) == reverse and all("--reverse-angles" in note for note in told)


def test_a_part_and_the_older_centre_of_rotation_are_read(folder):
    shift = OFFSET_MM * DETECTOR_MM / SOURCE_MM
    changes = {"ObjectOffsetX": None, "ObjectRoll": None}
    centres = {"CentreOfRotationTop": shift, "CentreOfRotationBottom": shift}
    write_header(folder / "old.xtekct", **changes, **centres)
    write_header(folder / "ball.xtekct")
    old, new = (read_raw_scan(folder / name) for name in ("old.xtekct", "ball.xtekct"))
    assert old.centre_column == pytest.approx(new.centre_column)
    part = read_raw_scan(folder / "ball.xtekct", ReadOptions(every=3, columns=(4, 40)))
    np.testing.assert_array_equal(part.data, new.data[::3, :, 4:40])
    np.testing.assert_allclose(part.angles_rad, new.angles_rad[::3])
    assert part.centre_column == pytest.approx(new.centre_column - 4)


@pytest.mark.parametrize(
    "changes",
    [{"InputName": "/dev/ball_"}, {"InputName": "ball_", "InputFolderName": "../elsewhere"}],
)
def test_frames_are_looked_for_beside_the_header(folder, tmp_path, changes):
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    for i, frame in enumerate(frames()[:2]):
        write_tiff(tmp_path / "here" / f"ball_{i}.tif", frame)
        write_tiff(tmp_path / "elsewhere" / f"ball_{i}.tif", 1 + 0 * frame)
    write_header(tmp_path / "here" / "a.xtekct", Projections=2, **changes)
    assert read_raw_scan(tmp_path / "here" / "a.xtekct").data.max() > 2


def test_decimal_commas_are_read_where_no_number_has_a_point(folder):
    write_header(folder / "ball.xtekct")
    right = read_raw_scan(folder / "ball.xtekct")
    commas = {n: str(v).replace(".", ",") for n, v in HEADER.items() if isinstance(v, float)}
    assert commas
    write_header(folder / "ball.xtekct", **commas)
    found = read_raw_scan(folder / "ball.xtekct")
    for name in ("source_to_axis_mm", "source_to_detector_mm", "column_mm", "centre_column"):
        assert getattr(found, name) == getattr(right, name)
    np.testing.assert_allclose(found.angles_rad, right.angles_rad)
    write_header(folder / "ball.xtekct", **{**commas, "WhiteLevel": "60000.5"})
    with pytest.raises(InputError, match="a number"):
        read_raw_scan(folder / "ball.xtekct")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SrcToObject": None}, "(?s)has no value for SrcToObject.*Try: the header as the"),
        (
            {"SrcToObject": None, "SrcToObjekt": 90.0},
            "(?s)for SrcToObject.*did you mean srctoobjekt",
        ),
        ({"AngularStep": "three"}, "'three' for AngularStep"),
        ({"WhiteLevel": 0}, "WhiteLevel 0"),
        ({"Projections": VIEWS + 1}, "121 views"),
        ({"Projections": 2**31 - 1}, "2147483647 views"),
        ({"Projections": 4.5}, "Projections 4.5"),
        ({"DetectorPixelsX": COLUMNS + 2}, "58 columns"),
        ({"SrcToDetector": 100.0}, "before the object"),
        ({"ObjectTilt": 5.0}, "axis that leans"),
    ],
)
def test_bad_headers_are_refused_in_words(folder, changes, said):
    write_header(folder / "bad.xtekct", **changes)
    with pytest.raises(InputError, match=said):
        read_raw_scan(folder / "bad.xtekct")


def test_other_files_and_options_are_refused(folder):
    (folder / "other.xtekct").write_bytes(random_array((50,), 0).numpy().tobytes())
    with pytest.raises(InputError, match="Nikon header"):
        read_raw_scan(folder / "other.xtekct")
    with pytest.raises(InputError, match=r"arc.degrees was given"):
        read_raw_scan(folder / "ball.xtekct", ReadOptions(arc_degrees=180.0))
