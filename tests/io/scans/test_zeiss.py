"""Zeiss's .txrm, written by the description of OLE files and of its streams, and read."""

from __future__ import annotations

import numpy as np
import pytest

from analytic import Ellipsoid
from diffusionblend import reconstruct
from diffusionblend.errors import InputError
from diffusionblend.io.scans.options import ReadOptions
from diffusionblend.io.scans.registry import read_raw_scan
from diffusionblend.io.scans.zeiss import read_txrm
from diffusionblend.preprocessing.prepare import prepare_scan
from diffusionblend.preprocessing.settings import PrepareSettings
from ole_files import write_ole

olefile = pytest.importorskip("olefile")
pytestmark = pytest.mark.filterwarnings("ignore:The detector is too small")

ROWS, COLUMNS, VIEWS = 20, 34, 120
SOURCE_MM, BEHIND_MM, PIXEL_UM = 60.0, 90.0, 500.0
"""From the source to the axis, from there to the detector; a pixel at the axis."""
DEGREES = -30.0 + np.arange(VIEWS) * 360 / VIEWS
CENTRE, RADIUS, MU = (2.0, -1.5, 0.8), 2.5, 0.02
REFERENCE = 40_000 + 500 * np.sin(np.arange(ROWS * COLUMNS)).reshape(ROWS, COLUMNS)


def counts() -> np.ndarray:
    """In the laboratory: the beam along y, columns along x, rows from the lowest one up; the
    object turns counterclockwise from above.
    """
    pixel = PIXEL_UM / 1000 * (SOURCE_MM + BEHIND_MM) / SOURCE_MM
    x, z = np.meshgrid(
        (np.arange(COLUMNS) - (COLUMNS - 1) / 2) * pixel, (np.arange(ROWS) - (ROWS - 1) / 2) * pixel
    )
    rays = np.stack([x, np.full_like(x, SOURCE_MM + BEHIND_MM), z], axis=-1)
    source = np.broadcast_to((0.0, -SOURCE_MM, 0.0), rays.shape)
    lines = []
    for turn in np.radians(DEGREES):
        c, s = np.cos(turn), np.sin(turn)
        middle = (c * CENTRE[0] - s * CENTRE[1], s * CENTRE[0] + c * CENTRE[1], CENTRE[2])
        ball = Ellipsoid(centre_mm=middle, semi_axes_mm=(RADIUS,) * 3, value=MU)
        lines.append(ball.line_integrals(source, rays))
    return REFERENCE * np.exp(-np.stack(lines))


COUNTS = counts()


def numbers(*values, kind="<f4") -> bytes:
    return np.array(values, kind).tobytes()


def streams(frames=COUNTS, kind="<u2", **changes) -> dict[str, bytes]:
    """A file's streams; changes by the last part of a name, None for none of it."""
    n = len(frames)
    found = {
        "ImageInfo/NoOfImages": numbers(n, kind="<i4"),
        "ImageInfo/ImagesTaken": numbers(n, kind="<i4"),
        "ImageInfo/ImageHeight": numbers(frames.shape[1], kind="<i4"),
        "ImageInfo/ImageWidth": numbers(frames.shape[2], kind="<i4"),
        "ImageInfo/DataType": numbers(5 if kind == "<u2" else 10, kind="<i4"),
        "ImageInfo/XrayGeometry": numbers(1, kind="<i4"),
        "ImageInfo/Angles": numbers(*DEGREES[:n], *[0] * 7),
        "ImageInfo/PixelSize": numbers(PIXEL_UM),
        "ImageInfo/StoRADistance": numbers(*[-SOURCE_MM] * n),
        "ImageInfo/DtoRADistance": numbers(*[BEHIND_MM] * n),
        "ImageInfo/YPosition": numbers(*[1000.0] * n),
        "ImageInfo/ExpTimes": numbers(*[2.0] * n),
        "ReferenceData/ExpTime": numbers(2.0),
        "ReferenceData/DataType": numbers(10, kind="<i4"),
        "ReferenceData/Image": REFERENCE.astype("<f4").tobytes(),
    }
    for view, frame in enumerate(frames):
        stored = frame.round() if kind == "<u2" else frame
        found[f"ImageData{view // 100 + 1}/Image{view + 1}"] = stored.astype(kind).tobytes()
    for name in list(found):
        last = name.partition("/")[2]
        given = changes.pop(name.replace("/", "_"), changes.get(last, found[name]))
        found[name] = given
    found |= {k: v for k, v in changes.items() if "/" in k}
    return {name: content for name, content in found.items() if content is not None}


def check_ball(scan, axis=None) -> None:
    stated = PrepareSettings(mu_water_per_mm=MU, centre_column=axis)
    done = prepare_scan(scan, stated)
    volume = reconstruct(done.projections, "fbp").volume
    grid = volume.grid
    starts = zip(grid.origin_mm[::-1], grid.shape, grid.spacing_mm, strict=True)
    z, y, x = np.meshgrid(*(o + np.arange(n) * s for o, n, s in starts), indexing="ij")
    away = np.sqrt(sum((a - c) ** 2 for a, c in zip((x, y, z), CENTRE, strict=True)))
    mu = MU * (1 + volume.values / 1000)
    assert (away < 0.6 * RADIUS).sum() > 25
    np.testing.assert_allclose(mu[away < 0.6 * RADIUS].mean(), MU, rtol=0.01)
    assert np.abs(mu[away > 1.5 * RADIUS].mean()) < 0.02 * MU


def test_ole_files_are_what_the_library_reads(tmp_path):
    """Streams of both kinds, empty ones, more than one table of sectors."""
    rng = np.random.default_rng(0)
    sizes = (0, 1, 64, 4095, 4096, 5000, 200_000)
    content = {f"a/b{i}/Stream{i}": rng.bytes(n) for i, n in enumerate(sizes)}
    path = write_ole(tmp_path / "a.ole", content | {"Alone": b"xy"})
    with olefile.OleFileIO(path, raise_defects=olefile.DEFECT_UNSURE) as ole:
        assert len(ole.listdir()) == len(sizes) + 1 and not ole.parsing_issues
        for name, expected in content.items():
            assert ole.openstream(name).read() == expected


@pytest.mark.parametrize("kind", ["<u2", "<f4"])
def test_a_ball_comes_back_in_its_place(tmp_path, kind):
    path = write_ole(tmp_path / "ball.txrm", streams(kind=kind))
    scan = read_raw_scan(path)
    assert scan.values == "counts" and scan.data.shape == (VIEWS, ROWS, COLUMNS)
    assert scan.column_mm == pytest.approx(1.25) and scan.source_to_detector_mm == 150
    np.testing.assert_allclose(scan.flats[0], REFERENCE, rtol=1e-6)
    check_ball(scan)
    part = read_raw_scan(path, ReadOptions(every=3, rows=(2, 9), columns=(4, 30)))
    np.testing.assert_array_equal(part.data, scan.data[::3, 2:9, 4:30])
    np.testing.assert_allclose(part.angles_rad, -np.radians(DEGREES[::3]), rtol=1e-6)
    assert part.flats.shape == (1, 7, 26)


def test_shifts_of_the_alignment_are_undone_after_the_reference(tmp_path):
    rng = np.random.default_rng(1)
    aside, up = rng.integers(-2, 3, (2, VIEWS))
    light = COUNTS / REFERENCE
    shaken = [np.roll(f, (-b, -a), (0, 1)) for f, a, b in zip(light, aside, up, strict=True)]
    shifts = {"Alignment/X-Shifts": numbers(*(aside + 0.2)), "Alignment/Y-Shifts": numbers(*up)}
    path = write_ole(tmp_path / "s.txrm", streams(np.stack(shaken) * REFERENCE, **shifts))
    scan = read_raw_scan(path)
    assert scan.values == "transmission" and scan.flats is None
    assert "moves views by up to 2 pixels" in " ".join(scan.notes)
    check_ball(scan)
    bare = streams(np.stack(shaken), kind="<f4", ReferenceData_Image=None, **shifts)
    with pytest.raises(InputError, match="no reference"):
        read_raw_scan(write_ole(tmp_path / "b.txrm", bare))


def test_a_scan_that_was_stopped_and_another_exposure_are_reported(tmp_path):
    some = streams(COUNTS[:7], NoOfImages=numbers(90, kind="<i4"), ExpTimes=numbers(*[4.0] * 7))
    scan = read_raw_scan(write_ole(tmp_path / "a.txrm", some))
    assert len(scan.data) == 7
    told = " ".join(scan.notes)
    assert "stopped after 7 of 90 views" in told and "exposed for 4 to 4 s" in told
    parallel = streams(COUNTS[:7], XrayGeometry=numbers(2, kind="<i4"), StoRADistance=None)
    scan = read_raw_scan(write_ole(tmp_path / "p.txrm", parallel))
    assert scan.source_to_axis_mm is None and scan.column_mm == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Angles": None}, "lacks ImageInfo/Angles"),
        ({"Angles": numbers(1, 2)}, "has 2 numbers of ImageInfo/Angles, of 5"),
        ({"Angles": numbers(*[np.nan] * 5)}, "Angles that is not finite"),
        ({"StoRADistance": numbers(*[0.0] * 5)}, "StoRADistance from 0 to 0 mm"),
        ({"DtoRADistance": numbers(1, 2, 3, 4, 5)}, "DtoRADistance from 1 to 5 mm"),
        ({"PixelSize": numbers(0.0)}, "PixelSize of 0"),
        ({"ImageWidth": numbers(35, kind="<i4")}, "bytes of ReferenceData/Image"),
        ({"ImageHeight": numbers(-1, kind="<i4")}, "ImageHeight -1"),
        ({"DataType": numbers(3, kind="<i4")}, "DataType 3"),
        ({"ImageData1_Image3": b"abc"}, "has 3 bytes of ImageData1/Image3"),
        ({"ImageData1_Image5": None}, "has 0 bytes of ImageData1/Image5"),
        ({"YPosition": numbers(0, 100, 200, 300, 900)}, "moves by 900 micrometres along the axis"),
        ({"Alignment/X-Shifts": numbers(*[1e9] * 5)}, "pixels"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_refused(tmp_path, changes, said):
    path = write_ole(tmp_path / "a.txrm", streams(COUNTS[:5], **changes))
    with pytest.raises(InputError, match=said) as raised:
        read_raw_scan(path)
    assert raised.value.expected


def test_other_files_and_formats_are_refused_in_words(tmp_path, monkeypatch):
    whole = write_ole(tmp_path / "a.txrm", streams(COUNTS[:5])).read_bytes()
    for name, content in (("text", b"nothing" * 99), ("cut", whole[: len(whole) // 2]), ("", b"")):
        path = tmp_path / f"{name}.txrm"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.txrm"):
            read_raw_scan(path)
    with pytest.raises(InputError, match="angles was given"):
        read_raw_scan(tmp_path / "a.txrm", ReadOptions(arc_degrees=None, angles=tmp_path / "x.txt"))
    for suffix, way in ((".xim", "rtkvarianprobeam"), (".hnd", "itk-rtk"), (".txm", "txrm")):
        (tmp_path / f"v{suffix}").write_bytes(b"VMS.XI")
        with pytest.raises(InputError, match="kind that is not read") as raised:
            read_raw_scan(tmp_path / f"v{suffix}")
        assert way in raised.value.try_
    monkeypatch.setitem(__import__("sys").modules, "olefile", None)
    with pytest.raises(InputError, match="needs the package olefile") as raised:
        read_txrm(tmp_path / "a.txrm", ReadOptions())
    assert "diffusionblend[zeiss]" in raised.value.try_
