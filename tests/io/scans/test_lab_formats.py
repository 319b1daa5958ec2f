"""SkyScan's log, walnuts, 2DeteCT and vectors: made as they are described, read, reconstructed."""

from __future__ import annotations

import json
import shutil

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

ROWS, COLUMNS, VIEWS = 24, 40, 60
SOURCE_MM, DETECTOR_MM, PIXEL_MM = 200.0, 320.0, 3.2
PLANE_ROW, AXIS_COLUMN = 10.0, 18.0
"""Where the plane of the source and the axis are seen."""
ANGLES = np.radians(np.arange(VIEWS) * 360 / VIEWS)
BALL = Ellipsoid(centre_mm=(7.0, -5.0, 3.0), semi_axes_mm=(11, 11, 9))
WHITE = 57_000.0
pytestmark = pytest.mark.filterwarnings("ignore:The detector is too small")
WATER = PrepareSettings(mu_water_per_mm=0.02)


def vectors() -> np.ndarray:
    """Source, panel's middle, steps of a column and of a row, (view, 4, 3), in the ball's axes."""
    c, s, zero, one = np.cos(ANGLES), np.sin(ANGLES), np.zeros(VIEWS), np.ones(VIEWS)
    u, n, z = (np.stack(a, axis=1) for a in ((c, s, zero), (-s, c, zero), (zero, zero, one)))
    aside = ((COLUMNS - 1) / 2 - AXIS_COLUMN) * PIXEL_MM
    above = ((ROWS - 1) / 2 - PLANE_ROW) * PIXEL_MM
    middle = (DETECTOR_MM - SOURCE_MM) * n + aside * u + above * z
    return np.stack([-SOURCE_MM * n, middle, PIXEL_MM * u, PIXEL_MM * z], axis=1)


VECTORS = vectors()


def integrals() -> np.ndarray:
    source, middle, u, v = (VECTORS[:, i, None, None] for i in range(4))
    row = np.arange(ROWS)[:, None, None] - (ROWS - 1) / 2
    column = np.arange(COLUMNS)[:, None] - (COLUMNS - 1) / 2
    pixels = middle + column * u + row * v
    return BALL.line_integrals(np.broadcast_to(source, pixels.shape), pixels - source)


LINES = integrals()
COUNTS = WHITE * np.exp(-LINES)


def core_and_air(volume) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation well within the ball and well outside, by the volume's own place."""
    grid = volume.grid
    starts = zip(grid.origin_mm[::-1], grid.shape, grid.spacing_mm, strict=True)
    z, y, x = np.meshgrid(*(o + np.arange(n) * s for o, n, s in starts), indexing="ij")
    apart = [
        (a - c) / s for a, c, s in zip((x, y, z), BALL.centre_mm, BALL.semi_axes_mm, strict=True)
    ]
    reach = np.sqrt(sum(a**2 for a in apart))
    mu = 0.02 * (1 + volume.values / 1000)
    core = mu[reach < 0.6]
    assert core.size > 50
    return core, mu[reach > 1.3]


def check_ball(scan, method="fbp", **settings) -> None:
    core, air = core_and_air(reconstruct(scan, method, **settings).volume)
    np.testing.assert_allclose(core.mean(), 0.02, rtol=0.01)
    assert core.std() < 0.03 * 0.02 and np.abs(air).mean() < 0.06 * 0.02


def refused(path, said, **read) -> str:
    with pytest.raises(InputError, match=said) as error:
        read_raw_scan(path, ReadOptions(**read))
    return str(error.value)


# ---- SkyScan

LOG = {
    "Filename Prefix": "ball~00_",
    "Filename Index Length": 4,
    "Number Of Files": f" {VIEWS + 1}",
    "Number Of Rows": ROWS,
    "Number Of Columns": COLUMNS,
    "Optical Axis (line)": f" {ROWS - 1 - PLANE_ROW:g}",
    "Object to Source (mm)": SOURCE_MM,
    "Camera to Source (mm)": DETECTOR_MM,
    "Image Pixel Size (um)": PIXEL_MM * SOURCE_MM / DETECTOR_MM * 1000,
    "Depth (bits)": 16,
    "Reference Intensity": f"{WHITE:g}",
    "Rotation Step (deg)": 360 / VIEWS,
    "Flat Field Correction": "ON",
    "Rotation Direction": "CC",
    "Scanning Trajectory": "ROUND",
}


def write_log(folder, name="ball.log", **changes):
    lines = [f"{k}={v}" for k, v in (LOG | changes).items() if v is not None]
    text = "[System]\nScanner=SkyScan1272\nCamera Pixel Size (um)=7.4\n[Acquisition]\n"
    end = f"\n[Reconstruction]\nPostalignment={(COLUMNS - 1) / 2 - AXIS_COLUMN}\n"
    (folder / name).write_text(text + "\n".join(lines) + end)
    return folder / name


@pytest.fixture(scope="module")
def skyscan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skyscan")
    for i, frame in enumerate(COUNTS):
        write_tiff(folder / f"ball~00_{i:04d}.tif", np.round(frame).astype(np.uint16))
    write_tiff(folder / "ball~00__spr.tif", np.full((5, 5), 7, np.uint16))
    return folder


def test_a_ball_comes_back_from_a_log_of_skyscan(skyscan):
    scan = read_raw_scan(write_log(skyscan, **{"Use 360 Rotation": "YES"}))
    assert scan.data.shape == (VIEWS, ROWS, COLUMNS)
    np.testing.assert_allclose(scan.angles_rad, ANGLES, atol=1e-9)
    assert (scan.centre_row, scan.centre_column) == (PLANE_ROW, AXIS_COLUMN)
    check_ball(prepare_scan(scan, WATER).projections)
    part = read_raw_scan(write_log(skyscan), ReadOptions(every=2, rows=(3, 20), columns=(2, 40)))
    np.testing.assert_allclose(part.angles_rad, ANGLES[::2], atol=1e-9)
    assert (part.centre_row, part.centre_column) == (PLANE_ROW - 3, AXIS_COLUMN - 2)


def test_what_a_log_of_skyscan_leaves_open(skyscan):
    changes = {"Rotation Direction": "CW", "Image Rotation": 6, "Random Movement": "ON (30)"}
    far = {"Object to Source (mm)": 1e5, "Reference Intensity": None}
    scan = read_raw_scan(write_log(skyscan, "far.log", **changes, **far))
    np.testing.assert_allclose(scan.angles_rad, -ANGLES, atol=1e-9)
    assert scan.source_to_axis_mm is None and scan.flats.max() == 65535
    assert scan.column_mm == pytest.approx(PIXEL_MM * SOURCE_MM / DETECTOR_MM)
    told = " ".join(scan.notes)
    for words in ("if the volume is mirrored", "moved at random", "Image Rotation of 6 degrees"):
        assert words in told
    raw = read_raw_scan(write_log(skyscan, "raw.log", **{"Flat Field Correction": "OFF"}))
    assert raw.flats is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Object to Source (mm)": None}, "no value for Object to Source"),
        ({"Rotation Step (deg)": "none"}, "'none' for Rotation Step"),
        ({"Number Of Files": VIEWS - 4}, "56 views"),
        ({"Number Of Columns": 44}, "44 columns"),
        ({"Scanning Trajectory": "SPIRAL"}, "trajectory SPIRAL"),
        ({"Number Of Horizontal Offset Positions": 2}, "with 2 horizontal"),
        ({"Rotation Direction": "UP"}, "Rotation Direction UP"),
        ({"Camera to Source (mm)": SOURCE_MM / 2}, "the object"),
        ({"Optical Axis (line)": 1e9}, "Optical Axis at line 1e"),
        ({"Comment": "a" * 3_000_000}, "has 3 MB"),
        ({"Image Pixel Size (um)": 0}, "Image Pixel Size .um. 0"),
        (
            {"Image Pixel Size (um)": 2.3},
            r"(?s)Image Pixel Size .um. 2\.3, and Camera Pixel Size .um. 7\.4.*of 4\.625, or more",
        ),
        (
            {"Use 360 Rotation": "YES", "Rotation Step (deg)": 0.5},
            r"360 degrees .*61 frames in steps of 0\.5 degrees, which cover 30\.5",
        ),
    ],
)
def test_bad_logs_are_refused_in_words(skyscan, changes, said):
    refused(write_log(skyscan, "bad.log", **changes), said)


def test_other_logs_are_refused(tmp_path):
    for text in ("10:32 started\n", "[Acquisition]\n" + "a" * 9999, "[System]\na=1\n"):
        (tmp_path / "other.log").write_text(text)
        message = refused(tmp_path / "other.log", "as a log of SkyScan")
        assert len(message) < 500


# ---- walnuts


@pytest.fixture(scope="module")
def walnut(tmp_path_factory):
    """An orbit as its detector, which lies on its side, reads it out, in the reverse order."""
    folder = tmp_path_factory.mktemp("walnut") / "tubeV2"
    folder.mkdir()
    dark = 100.0
    for i, frame in enumerate(COUNTS):
        upright = np.round(frame + dark).astype(np.uint16)
        write_tiff(folder / f"scan_{VIEWS - 1 - i:06d}.tif", np.flipud(upright.T))
    for name, level in (("di000000", dark), ("io000000", WHITE + dark), ("io000001", WHITE + dark)):
        write_tiff(folder / f"{name}.tif", np.full((COLUMNS, ROWS), level, np.uint16))
    np.savetxt(folder / "scan_geom_corrected.geom", VECTORS.reshape(VIEWS, 12))
    return folder


def test_a_ball_comes_back_from_the_layout_of_the_walnuts(walnut):
    scan = read_raw_scan(walnut)
    np.testing.assert_allclose(scan.data, COUNTS + 100, atol=0.51)
    assert len(scan.flats) == 2 and len(scan.darks) == 1
    np.testing.assert_allclose(np.cos(scan.angles_rad - ANGLES), 1, atol=1e-12)
    check_ball(prepare_scan(scan, WATER).projections, "sirt", iterations=60)
    part = read_raw_scan(walnut, ReadOptions(every=7, rows=(2, 20), columns=(5, 39)))
    np.testing.assert_array_equal(part.data, scan.data[::7, 2:20, 5:39])
    np.testing.assert_array_equal(part.flats, scan.flats[:, 2:20, 5:39])
    expected = scan.geometry.of_views(np.arange(0, VIEWS, 7)).of_detector((2, 5), (18, 34))
    assert part.geometry == expected


def test_walnuts_that_do_not_fit_are_refused(walnut, tmp_path):
    refused(walnut, "arc_degrees was given", arc_degrees=360.0)
    refused(walnut, "vectors was given", vectors=walnut / "scan_geom_corrected.geom")
    folder = tmp_path / "tubeV1"
    shutil.copytree(walnut, folder)
    (folder / "scan_000003.tif").unlink()
    refused(folder, "59 views, and scan_geom_corrected.geom 60")
    np.savetxt(folder / "scan_geom_corrected.geom", VECTORS.reshape(VIEWS, 12)[:, :9])
    refused(folder, r"shape \(60, 9\)")
    (folder / "scan_geom_corrected.geom").write_text("source detector\n1 2 3\n")
    refused(folder, "could not be read as vectors")


# ---- vectors in files


def test_vectors_take_the_place_of_angles(tmp_path):
    flat = VECTORS.reshape(VIEWS, 12)
    np.save(tmp_path / "lines.npy", LINES.astype(np.float32))
    np.savetxt(tmp_path / "panels.txt", flat)
    np.save(tmp_path / "panels.npy", flat)
    described = {"type": "cone_vec", "DetectorRowCount": ROWS, "DetectorColCount": COLUMNS}
    (tmp_path / "astra.json").write_text(json.dumps(described | {"Vectors": flat.tolist()}))
    read = {"values": "lines", "rows": (1, 24), "every": 3}
    found = [
        read_raw_scan(tmp_path / "lines.npy", ReadOptions(vectors=tmp_path / name, **read))
        for name in ("panels.txt", "panels.npy", "astra.json")
    ]
    for scan in found:
        np.testing.assert_array_equal(scan.data, LINES[::3, 1:].astype(np.float32))
        np.testing.assert_allclose(scan.geometry.detectors_mm, found[0].geometry.detectors_mm)
    check_ball(prepare_scan(found[0], WATER).projections, "sirt", iterations=100)


def test_vectors_on_a_circle_are_a_cone(tmp_path):
    """Written by the convention, and reconstructed by FDK."""
    u, n = (np.stack(a, axis=1) for a in (
        (np.cos(ANGLES), np.sin(ANGLES), 0 * ANGLES), (-np.sin(ANGLES), np.cos(ANGLES), 0 * ANGLES)
    ))  # fmt: skip
    aside = ((COLUMNS - 1) / 2 - AXIS_COLUMN) * PIXEL_MM
    above = np.array((0.0, 0.0, ((ROWS - 1) / 2 - PLANE_ROW) * PIXEL_MM))
    middle = (DETECTOR_MM - SOURCE_MM) * n + aside * u + above
    rows = np.tile((0.0, 0.0, PIXEL_MM), (VIEWS, 1))
    np.savetxt(tmp_path / "v.txt", np.hstack([-SOURCE_MM * n, middle, PIXEL_MM * u, rows]))
    np.save(tmp_path / "lines.npy", LINES.astype(np.float32))
    read = ReadOptions(vectors=tmp_path / "v.txt", values="lines")
    done = prepare_scan(read_raw_scan(tmp_path / "lines.npy", read), WATER)
    told = " ".join(done.correction.notes)
    assert f"{SOURCE_MM:g} mm from the axis and {DETECTOR_MM:g} mm from the detector" in told
    check_ball(done.projections, "fbp")


def test_vectors_that_do_not_fit_are_refused(tmp_path):
    flat = VECTORS.reshape(VIEWS, 12)
    np.save(tmp_path / "lines.npy", LINES)
    path = tmp_path / "v.txt"

    def given(values, said):
        np.savetxt(path, values)
        refused(tmp_path / "lines.npy", said, values="lines", vectors=path)

    given(flat[:9], "9 vectors")
    with path.open("ab") as file:
        file.truncate(100_000_000)
    refused(tmp_path / "lines.npy", "100 MB of text", values="lines", vectors=path)
    given(np.where(np.arange(12) < 9, flat, 0), "no area")
    given(np.where(flat == flat.max(), np.nan, flat), "not finite")
    for described, said in (
        ({"type": "helix"}, "type 'helix'"),
        ({"type": "cone_vec"}, "lacks"),
        ([1], "no JSON of ASTRA"),
        (
            {"type": "cone_vec", "DetectorRowCount": 3, "DetectorColCount": 4}
            | {"Vectors": flat.tolist()},
            "panel of 3 rows and 4 columns",
        ),
    ):
        (tmp_path / "a.json").write_text(json.dumps(described))
        refused(tmp_path / "lines.npy", said, vectors=tmp_path / "a.json")
    with pytest.raises(InputError, match="Both vectors and angles"):
        ReadOptions(vectors=path, arc_degrees=180.0)


# ---- 2DeteCT

SLICE_COLUMNS, SLICE_MM, SLICE_VIEWS = 1912, 0.0748, 181
DISC = Ellipsoid(centre_mm=(20.0, -12.0, 0.0), semi_axes_mm=(15, 15, np.inf))


def write_slice(folder, number=5000, columns=SLICE_COLUMNS, flat=WHITE):
    """A slice in a mode by the collection's description: views by falling angles, from half a turn
    on, the last as the first; the axis a column beside the middle of the earlier slices.
    """
    mode = folder / f"slice{number:05d}" / "mode2"
    mode.mkdir(parents=True)
    t = np.pi - np.linspace(0, 2 * np.pi, SLICE_VIEWS)
    u, n = (np.stack(a, axis=1)[:, None] for a in ((np.cos(t), np.sin(t)), (-np.sin(t), np.cos(t))))
    middle = (columns - 1) / 2 + (1 if number <= 2830 else 0)
    along = ((np.arange(columns) - middle) * SLICE_MM)[:, None] * u + 529.000488 * n
    source = np.broadcast_to(-431.019989 * n, along.shape)
    rays = [np.concatenate([a, np.zeros((*a.shape[:2], 1))], axis=2) for a in (source, along)]
    counts = WHITE * np.exp(-DISC.line_integrals(*rays)) + 300
    write_tiff(mode / "sinogram.tif", np.round(counts).astype(np.uint16))
    for name, level in (("dark", 300), ("flat1", flat + 300), ("flat2", flat + 300)):
        write_tiff(mode / f"{name}.tif", np.full((1, columns), level, np.uint16))
    return mode


@pytest.mark.parametrize("number", [5000, 12])
def test_a_disc_comes_back_from_a_slice_of_2detect(tmp_path, number):
    scan = read_raw_scan(write_slice(tmp_path, number))
    assert scan.data.shape == (SLICE_VIEWS - 1, 1, SLICE_COLUMNS)
    assert scan.centre_column == (SLICE_COLUMNS - 1) / 2 + (number <= 2830)
    settings = PrepareSettings(mu_water_per_mm=0.02, binning=(1, 16), size=100)
    volume = reconstruct(prepare_scan(scan, settings).projections, "fbp").volume
    steps = volume.grid.origin_mm[0] + np.arange(100) * volume.grid.spacing_mm[2]
    apart = np.hypot(steps[None] - 20, steps[:, None] + 12)
    mu = 0.02 * (1 + volume.values[0] / 1000)
    np.testing.assert_allclose(mu[apart < 12].mean(), 0.02, rtol=0.01)
    assert np.abs(mu[(apart > 18) & (apart < 30)]).mean() < 0.02 * 0.03


def test_slices_of_other_sizes_are_refused(tmp_path):
    refused(write_slice(tmp_path, columns=64), "files of .181, 64.")
