"""The tools of the page: windows, colours, slabs, ruler, region, pictures, address, dropped files.

What they show is checked against NumPy on the volumes; pictures are kept in a folder of pytest's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import numpy as np
import pytest

from browser import Page, chromium
from diffusionblend.io.volumes import write_volume
from diffusionblend.viewer.page import write_static_page
from diffusionblend.viewer.scene import Scene
from viewer_page import LOADED, PIXELS, readout, text
from viewer_scenes import GRID, brighter, serving, truth

pytestmark = pytest.mark.browser

REGION_TEXTS = "[...document.querySelectorAll('.pane .region')].map((p) => p.textContent)"
PANE = """(() => { const p = document.querySelector('.pane[data-plane="%s"]');
  const b = p.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"""
STILL = "new Promise((done) => setTimeout(done, 400))"


@pytest.fixture(scope="module")
def page(server, tmp_path_factory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium"), size=(1440, 900)) as browser:
        browser.go(server.url, LOADED)
        yield browser
        assert browser.errors == []


@pytest.fixture(autouse=True)
def first_view(request) -> None:
    if "page" in request.fixturenames:
        page = request.getfixturevalue("page")
        page.mouse("Moved", 2, 2)
        page.key("r")


def fill(page: Page, name: str, value: object) -> None:
    """Fill a field in, or choose from it, as a user does."""
    page.evaluate(
        f"(() => {{ const f = document.getElementById('{name}'); f.value = {json.dumps(value)};"
        " f.dispatchEvent(new Event('change')); f.blur(); })()"
    )
    page.settle()


def field(page: Page, name: str) -> float:
    return float(page.evaluate(f"document.getElementById('{name}').value"))


def colour(page: Page, dx: int = 4, dy: int = 4) -> list[int]:
    """Red, green and blue beside the middle of the truth's axial pane."""
    return page.evaluate(
        "(() => { const c = document.querySelector('.pane canvas');"
        f" const at = 4 * (((c.height >> 1) + {dy}) * c.width + (c.width >> 1) + {dx});"
        f" return [...{PIXELS}(c).slice(at, at + 3)]; }})()"
    )


def scale(page: Page, plane: str, width_mm: float, height_mm: float) -> tuple[float, float, float]:
    """The middle of a plane's pane and its pixels a mm, at the first zoom."""
    left, top, width, height = page.evaluate(PANE % plane)
    return left + width / 2, top + height / 2, min(width / width_mm, height / height_mm)


def test_level_and_width_are_the_limits_in_other_words(page):
    fill(page, "level", -600)
    fill(page, "width", 1500)
    assert (field(page, "low"), field(page, "high")) == (-1350, 150)
    fill(page, "low", 500)  # above white: taken in the other order
    assert (field(page, "low"), field(page, "high")) == (150, 500)
    assert (field(page, "level"), field(page, "width")) == (325, 350)
    for name in ("width", "high"):
        fill(page, name, "")
    assert field(page, "low") < field(page, "high")


def test_the_automatic_window_is_of_the_slice_or_of_the_region(page, scene):
    page.key("a")
    values = scene.volumes["truth <b>"][GRID.shape[0] // 2]
    expected = np.percentile(values, (0.5, 99.5), method="nearest")
    assert [field(page, "low"), field(page, "high")] == pytest.approx(expected, abs=3)
    x, y, per_mm = scale(page, "axial", 45, 24)
    page.key("o")
    page.drag((x - 6 * per_mm, y - 4 * per_mm), (x + 6 * per_mm, y + 4 * per_mm))
    inside = ellipse(values, x_mm=6, y_mm=4)
    page.key("a")
    ends = [field(page, "low"), field(page, "high")]
    assert ends == pytest.approx([inside.min(), inside.max()], abs=1)


def ellipse(values: np.ndarray, x_mm: float, y_mm: float) -> np.ndarray:
    """The values of an axial slice within half axes in mm about its middle."""
    rows, columns = values.shape
    y = (np.arange(rows) - (rows - 1) / 2) * GRID.spacing_mm[1]
    x = (np.arange(columns) - (columns - 1) / 2) * GRID.spacing_mm[2]
    return values[np.hypot(*np.meshgrid(y / y_mm, x / x_mm, indexing="ij")) <= 1]


def test_a_region_reports_mean_deviation_area_of_every_volume(page, scene, tmp_path):
    x, y, per_mm = scale(page, "axial", 45, 24)
    page.key("o")
    page.drag((x - 7 * per_mm, y - 5 * per_mm), (x + 7 * per_mm, y + 5 * per_mm))
    page.picture(tmp_path / "region.png")
    shown = page.evaluate(REGION_TEXTS)
    assert [bool(t) for t in shown] == [True, True] + 4 * [False], "one plane of each volume"
    for said, volume in zip(shown[:2], scene.volumes.values(), strict=True):
        inside = ellipse(volume[GRID.shape[0] // 2], x_mm=7, y_mm=5).astype(float)
        numbers = said.replace("\n", " ").replace(",", "").split()
        mean, sd = float(numbers[1]), float(numbers[3])
        low, high, area = float(numbers[5]), float(numbers[7]), float(numbers[8])
        assert mean == pytest.approx(inside.mean(), abs=0.06), said
        assert sd == pytest.approx(inside.std(), abs=0.06)
        assert (low, high) == (inside.min(), inside.max())
        assert area == pytest.approx(np.pi * 7 * 5, rel=0.03)
        assert f"({inside.size} pixels)" in said
    page.key("Escape")
    assert not any(page.evaluate(REGION_TEXTS))
    page.drag((x, y), (x, y))  # a click draws none
    assert not any(page.evaluate(REGION_TEXTS))


def test_the_ruler_measures_in_mm(page, tmp_path):
    x, y, per_mm = scale(page, "axial", 45, 24)
    page.key("n")
    page.drag((x - 9 * per_mm, y - 4 * per_mm), (x + 9 * per_mm, y + 4 * per_mm))
    page.picture(tmp_path / "ruler.png")
    assert f"{2 * np.hypot(9, 4):.0f} mm, axial" in text(page, "#profile-head")


@pytest.mark.parametrize("how", ["mean", "maximum", "minimum"])
def test_slabs_show_and_read_out_what_numpy_finds(page, scene, how, tmp_path):
    fill(page, "slab", 10)  # five axial slices of 2 mm
    fill(page, "projection", how)
    page.picture(tmp_path / f"{how}.png")
    assert f"axial 11/20\n{how} 10 mm" in text(page, ".pane .place")
    take = {"mean": np.mean, "maximum": np.max, "minimum": np.min}[how]
    x, y, per_mm = scale(page, "axial", 45, 24)
    for dx, dy in ((0, 0), (12, 5), (-15, -9), (20, 10)):
        page.mouse("Moved", x + dx * per_mm, y + dy * per_mm)
        (z, row, column), hu = readout(page)
        for value, volume in zip(hu, scene.volumes.values(), strict=True):
            slab = volume[z - 2 : z + 3, row, column].astype(float)
            assert value == pytest.approx(take(slab), abs=0.51)
    assert f"{how} of the slab" in text(page, "#readout")
    page.key("x")
    page.key("s")
    page.mouse("Moved", x + 4, y + 4)
    _, (hu, _) = readout(page)
    assert colour(page)[0] == pytest.approx(255 * np.clip((hu + 1000) / 2000, 0, 1), abs=1)
    page.mouse("Moved", 2, 2)
    page.key("Home")  # at the end of the volume the slab is cut off
    page.drag((x, y), (x, y))
    z, row, column = readout(page)[0]
    assert z == 0
    edge = scene.volumes["truth <b>"][:3, row, column].astype(float)
    assert readout(page)[1][0] == pytest.approx(take(edge), abs=0.51)


def test_colours_and_inversion(page, tmp_path):
    for key in ("x", "s"):
        page.key(key)
    grey = colour(page)
    assert grey[0] == grey[1] == grey[2]
    page.key("i")
    assert colour(page) == [255 - grey[0]] * 3
    page.key("i")
    seen = [colour(page)]
    for _ in range(3):
        page.key("c")
        seen.append(colour(page))
    page.picture(tmp_path / "viridis.png")
    assert len({tuple(c) for c in seen}) == 4
    fill(page, "low", 5000)  # all of it is below black: the darkest colour of the map
    fill(page, "high", 6000)
    assert colour(page) == [68, 1, 84]
    fill(page, "colours", "grey")
    assert colour(page) == [0, 0, 0]


def downloads(page: Page) -> None:
    """Keep what the page would download, in place of downloading it."""
    page.evaluate("""(() => {
      window.saved = [];
      HTMLAnchorElement.prototype.click = function () {
        const name = this.download;
        fetchBlob(this.href).then((data) => window.saved.push([name, data]));
      };
      window.blobs = {};
      const make = URL.createObjectURL.bind(URL);
      URL.createObjectURL = (blob) => {
        const at = make(blob);
        window.blobs[at] = blob;
        return at;
      };
      window.fetchBlob = async (at) => {
        const bytes = new Uint8Array(await window.blobs[at].arrayBuffer());
        return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''));
      };
    })()""")


def test_a_plane_and_all_of_them_are_saved_as_png(server, tmp_path):
    from PIL import Image

    with chromium(tmp_path, size=(1440, 900)) as page:
        page.go(server.url, LOADED)
        downloads(page)
        page.key("e")
        page.wait("window.saved.length === 1")
        page.evaluate("document.getElementById('save').click()")
        page.wait("window.saved.length === 2")
        (one, data), (every, all_data) = page.evaluate("window.saved")
        assert one == "truth-b-axial-11.png" and every == "truth-b-recon.png"
        for name, content in ((one, data), (every, all_data)):
            (tmp_path / name).write_bytes(base64.b64decode(content))
        _, _, width, height = page.evaluate(PANE % "axial")
        with Image.open(tmp_path / one) as picture:
            assert picture.size == pytest.approx((width, height), abs=1)
            assert np.asarray(picture.convert("L")).std() > 20
        main = page.evaluate("document.querySelector('main').clientWidth")
        with Image.open(tmp_path / every) as picture:
            assert picture.size[0] == pytest.approx(main, abs=6)
        assert page.errors == []


def test_the_address_keeps_the_view(server, tmp_path):
    with chromium(tmp_path, size=(1440, 900)) as page:
        page.go(server.url, LOADED)
        page.evaluate(STILL)
        assert page.evaluate("location.hash") == ""
        x, y, per_mm = scale(page, "coronal", 45, 40)
        page.drag((x + 5 * per_mm, y), (x + 5 * per_mm, y))
        for key in ("l", "i", "d", "c", "+", "PageDown", "o"):
            page.key(key)
        fill(page, "slab", 6)
        fill(page, "projection", "maximum")
        page.drag((x, y), (x + 20, y + 20))
        page.mouse("Moved", 2, 2)
        page.evaluate(STILL)
        state = "JSON.stringify([location.hash, document.querySelector('.place').textContent])"
        before, seen, hu = page.evaluate(state), page.evaluate(REGION_TEXTS), readout(page)
        kept = parse_qs(json.loads(before)[0].removeprefix("#"))
        assert kept["plane"] == ["coronal"] and kept["slab"] == ["6"] and kept["invert"] == ["1"]
        page.picture(tmp_path / "before.png")
        page.evaluate("location.reload()")
        page.wait(LOADED)
        page.evaluate(STILL)
        page.picture(tmp_path / "after.png")
        assert page.evaluate(state) == before
        assert page.evaluate(REGION_TEXTS) == seen and readout(page) == hu
        assert page.errors == []


BAD_ADDRESSES = (
    "voxel=a,b,c&window=,&slab=x",
    "voxel=999,-999,1e9&axial=1e9,1e9,-1e9&window=Infinity,3",
    "plane=__proto__&layout=constructor&tool=%3Cscript%3E&colours=toString&projection=x",
    "region=axial,1,2,3&line=nowhere,1,2,3,4&invert=7&coronal=NaN,0,0",
    "%E0%A4%A&&==&window=5,5",
)


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_that_makes_no_sense_does_no_harm(page, server, address):
    page.go("about:blank")
    page.go(f"{server.url}#{address}", LOADED)
    voxel, hu = readout(page)
    assert all(0 <= v < n for v, n in zip(voxel, GRID.shape, strict=True)) and len(hu) == 2
    assert field(page, "low") < field(page, "high")
    assert sum(colour(page, 0, 9)) >= 0 and page.errors == []
    assert len(page.evaluate("[...document.querySelectorAll('.pane')].map(() => 1)")) == 6


def test_h_and_screen_readers(page):
    page.key("h")
    assert page.evaluate("document.getElementById('help').open")
    page.key("h")
    assert not page.evaluate("document.getElementById('help').open")
    unnamed = page.evaluate(UNNAMED)
    assert unnamed == []
    labels = page.evaluate("[...document.querySelectorAll('.pane canvas')].map((c) => c.ariaLabel)")
    assert labels[0] == "truth <b>, axial 11/20. " and len(set(labels)) == 6
    page.evaluate("document.querySelector('.pane[data-plane=\"sagittal\"]').focus()")
    page.key("ArrowRight")
    assert "sagittal 17/30" in page.evaluate(
        "[...document.querySelectorAll('.place')].map((p) => p.textContent)"
    )


UNNAMED = """[...document.querySelectorAll('canvas, input, select, button')].filter(
  (e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
DROP = """(async (name, data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  document.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, cancelable: true}));
})"""


def drop(page: Page, name: str, content: bytes) -> None:
    page.evaluate(f"{DROP}({json.dumps(name)}, '{base64.b64encode(content).decode()}')")


def test_a_file_dropped_on_the_page_is_shown_in_the_same_view(tmp_path):
    write_volume(brighter(), tmp_path / "recon.nii.gz")
    content = (tmp_path / "recon.nii.gz").read_bytes()
    scene = Scene.of({"truth": truth()}, "truth")
    with serving(scene) as server, chromium(tmp_path) as page:
        page.go(server.url, LOADED)
        for key in ("l", "PageDown"):
            page.key(key)
        place = text(page, ".pane .place")
        drop(page, "notes.txt", b"hello")
        page.wait("document.getElementById('notices').textContent.includes('not a volume')")
        drop(page, "recon.nii.gz", content)
        page.wait(f"document.querySelectorAll('.pane').length === 6 && {LOADED}")
        page.picture(tmp_path / "dropped.png")
        assert text(page, ".pane .place") == place and field(page, "low") == -1350
        voxel, hu = readout(page)
        assert hu == [int(v[voxel]) for v in server.scene.volumes.values()]
        page.errors = [e for e in page.errors if "422" not in e]
        static = tmp_path / "page.html"
        write_static_page(scene, static)
        page.go(static.as_uri(), LOADED)
        drop(page, "recon.nii.gz", content)
        page.wait("document.getElementById('notices').textContent.includes('takes no others')")
        assert page.errors == []
