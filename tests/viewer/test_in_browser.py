"""The page in a real browser: what is seen, what the mouse and keys do, what is read out.

Pictures of it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from browser import Page, chromium
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.viewer.page import write_static_page
from diffusionblend.viewer.scene import Scene
from viewer_page import LOADED, PIXELS, readout, text
from viewer_scenes import EXTRA_HU, GRID, MARKER, brighter, serving, truth

pytestmark = pytest.mark.browser

MARKER_ONLY = """
(() => {
  const pane = [...document.querySelectorAll('.pane')].filter(
    (p) => p.dataset.plane === '%s' && p.dataset.volume === '%s')[0];
  const canvas = pane.querySelector('canvas');
  const {width, height} = canvas;
  const data = PIXELS(canvas);
  let [n, x, y] = [0, 0, 0];
  for (let i = 0; i < width * height; i++) {
    if (data[4 * i] > 250) { n++; x += i %% width; y += Math.floor(i / width); }
  }
  const box = pane.getBoundingClientRect();
  return {n, x: x / n + 0.5, y: y / n + 0.5, left: box.left, top: box.top, width, height};
})()
""".replace("PIXELS", PIXELS)
"""Where the white pixels of a pane have their centre, in its own coordinates."""


@pytest.fixture(scope="module")
def page(server, tmp_path_factory) -> Iterator[Page]:
    """The served scene, loaded once."""
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        browser.go(server.url, LOADED)
        yield browser
        assert browser.errors == []


@pytest.fixture(autouse=True)
def first_view(request) -> None:
    """Each test begins with the first view, and ends without an error in the console."""
    if "page" in request.fixturenames:
        page = request.getfixturevalue("page")
        page.mouse("Moved", 2, 2)
        page.key("r")
        assert page.errors == []


def places(page: Page) -> set[str]:
    """What the panes say of their slices."""
    return set(
        page.evaluate("[...document.querySelectorAll('.pane .place')].map(p=>p.textContent)")
    )


def middle_of(page: Page, plane: str, volume: str = "recon") -> tuple[float, float]:
    found = page.evaluate(MARKER_ONLY % (plane, volume))
    return found["left"] + found["width"] / 2, found["top"] + found["height"] / 2


def find_marker(page: Page, plane: str) -> dict:
    """The marker in a plane of the truth, by its colour alone."""
    found = page.evaluate(MARKER_ONLY % (plane, "truth <b>"))
    assert found["n"] > 20, found
    return found


def show_marker(page: Page) -> None:
    """Scroll to the marker, point at it, and leave nothing else white."""
    for key in ("s", "x"):
        page.key(key)
    for end, hu in (("low", 0), ("high", 800)):
        page.evaluate(
            f"(() => {{ const f = document.getElementById('{end}'); f.value = {hu};"
            " f.dispatchEvent(new Event('change')); })()"
        )
    for _ in range(GRID.shape[0] // 2 - MARKER[0]):  # towards the feet
        page.key("ArrowDown")


def test_it_loads_all_volumes_in_three_planes(page, server, tmp_path):
    page.picture(tmp_path / "first.png")
    panes = "[...document.querySelectorAll('.pane')].map(p => [p.dataset.plane, p.dataset.volume])"
    assert sorted(page.evaluate(panes)) == sorted(
        [p, v] for p in ("axial", "coronal", "sagittal") for v in ("truth <b>", "recon")
    )
    assert places(page) == {"axial 11/20", "coronal 13/24", "sagittal 16/30"}
    assert page.evaluate("document.getElementById('progress').hidden")
    foreign = [r for r in page.requests if not r.startswith((server.url, "about:", "data:"))]
    assert not foreign


def test_the_marker_is_where_it_should_be_with_its_hu_in_every_plane(page, scene, tmp_path):
    """Found by its colour on the screen, read out under the mouse: independent of the page's maths.

    The marker lies to the feet, the front and the left; R and A are on the left, H and A on top.
    """
    show_marker(page)
    expected = [int(v[MARKER]) for v in scene.volumes.values()]
    assert expected == [900, 900]
    sides = {"axial": (True, False), "coronal": (True, True), "sagittal": (False, True)}
    for plane, (is_right, is_low) in sides.items():
        found = find_marker(page, plane)
        assert (found["x"] > found["width"] / 2) == is_right, plane
        assert (found["y"] > found["height"] / 2) == is_low, plane
        at = found["left"] + found["x"], found["top"] + found["y"]
        page.mouse("Moved", *at)
        assert readout(page) == (MARKER, expected)
        page.drag(at, at)  # points all planes at it
        page.picture(tmp_path / f"{plane}.png")
    z, y, x = (i + 1 for i in MARKER)
    assert places(page) == {f"axial {z}/20", f"coronal {y}/24", f"sagittal {x}/30"}
    # by the affine: LPS = origin + spacing * (x, y, z) = (11.5, -23, 15)
    assert "L 11.5  A 23.0  H 15.0 mm" in text(page, "#readout")


def test_many_voxels_read_out_as_in_the_volume(page, scene):
    rng = np.random.default_rng(1)
    x, y = middle_of(page, "coronal")
    seen = set()
    for dx, dy in rng.uniform(-40, 40, (12, 2)):
        page.mouse("Moved", x + dx, y + dy)
        voxel, hu = readout(page)
        assert hu == [int(v[voxel]) for v in scene.volumes.values()]
        seen.add(voxel)
    assert len(seen) > 8
    page.mouse("Moved", 2, 2)
    assert readout(page)[0] == (10, 12, 15)


def test_wheel_and_keys_scroll_all_volumes_in_step(page):
    at = middle_of(page, "coronal")
    page.mouse("Wheel", *at, deltaX=0, deltaY=120)
    page.settle()
    assert places(page) == {"axial 11/20", "coronal 14/24", "sagittal 16/30"}
    for key, expected in (("ArrowUp", 13), ("PageUp", 3), ("End", 24), ("ArrowDown", 24),
                          ("ArrowLeft", 23), ("ArrowRight", 24)):  # fmt: skip
        page.key(key)
        assert f"coronal {expected}/24" in places(page), key
    page.key("Home")
    assert "coronal 1/24" in places(page)
    for _ in range(3):  # a trackpad's small movements add up
        page.mouse("Wheel", *at, deltaX=0, deltaY=12)
    page.settle()
    assert "coronal 2/24" in places(page)


def test_up_is_up_to_the_head_in_an_axial_plane(page):
    x, y = middle_of(page, "axial")
    page.drag((x, y), (x, y))
    for key, expected in (("ArrowUp", 12), ("ArrowDown", 11), ("PageUp", 20), ("PageDown", 10)):
        page.key(key)
        assert f"axial {expected}/20" in places(page), key
    page.mouse("Wheel", x, y, deltaX=0, deltaY=120)
    page.settle()
    assert "axial 9/20" in places(page)


def test_the_read_out_is_of_what_is_seen_whatever_moves_it(page, scene):
    """The mouse lies still; keys change the slice, the zoom and the planes below it."""
    x, y = middle_of(page, "axial")
    page.drag((x + 24, y + 16), (x + 24, y + 16))
    page.mouse("Moved", x + 10, y - 12)
    first, _ = readout(page)
    for key in (
        "Home",
        "End",
        "PageDown",
        "ArrowUp",
        "ArrowRight",
        "+",
        "+",
        "-",
        "1",
        "3",
        "0",
        "r",
    ):
        page.key(key)
        voxel, hu = readout(page)
        assert hu == [int(v[voxel]) for v in scene.volumes.values()], key
        if key in ("Home", "End", "PageDown", "ArrowUp", "ArrowRight"):
            shown = next(p for p in places(page) if p.startswith("axial"))
            assert shown == f"axial {voxel[0] + 1}/20" and voxel[1:] == first[1:], key
        page.mouse("Moved", x + 10, y - 12)
        page.settle()
        assert readout(page) == (voxel, hu), key


def grey_at_middle(page: Page) -> int:
    """The red value beside the middle of the truth's axial pane, clear of the voxels' edges."""
    return page.evaluate(
        "(() => { const c = document.querySelector('.pane canvas');"
        f" return {PIXELS}(c)[4 * (((c.height >> 1) + 4) * c.width + (c.width >> 1) + 4)]; }})()"
    )


def window(page: Page) -> tuple[int, int]:
    return tuple(
        page.evaluate("['low', 'high'].map((i) => Number(document.getElementById(i).value))")
    )


def test_presets_drags_and_numbers_change_the_window(page, scene):
    for key in ("x", "s"):
        page.key(key)
    presets = {"l": (-1350, 150), "m": (-160, 240), "b": (-450, 1050), "f": (-1000, 1000)}
    x, y = middle_of(page, "axial", "truth <b>")
    page.mouse("Moved", x + 4, y + 4)
    voxel, (hu, _) = readout(page)
    for key, (low, high) in presets.items():
        page.key(key)
        assert window(page) == (low, high)
        expected = 255 * min(1, max(0, (hu - low) / (high - low)))
        assert abs(grey_at_middle(page) - expected) <= 1, (key, voxel, hu)
    x, y = middle_of(page, "axial")
    page.drag((x, y), (x + 100, y), button="right")
    low, high = window(page)
    assert high - low == pytest.approx(2000 * np.exp(0.5), abs=2) and low + high == 0
    page.drag((x, y), (x, y + 30), button="right")
    assert sum(window(page)) / 2 == pytest.approx((high - low) * 0.1, abs=2)
    page.key("w")
    page.drag((x, y), (x - 100, y))
    assert window(page)[1] - window(page)[0] == pytest.approx(2000, abs=4)


def test_zoom_keeps_the_voxel_under_the_mouse_and_pan_moves_it(page):
    x, y = middle_of(page, "axial")
    page.mouse("Moved", x + 30, y + 20)
    before, _ = readout(page)
    for _ in range(4):
        page.mouse("Wheel", x + 30, y + 20, deltaX=0, deltaY=-120, modifiers=2)
    assert readout(page)[0] == before
    page.drag((x + 30, y + 20), (x - 30, y + 20), button="middle")
    page.mouse("Moved", x - 30, y + 20)
    assert readout(page)[0] == before
    assert places(page) == {"axial 11/20\n×2.2", "coronal 13/24", "sagittal 16/30"}


def test_a_picture_cannot_be_lost_from_sight(page):
    x, y = middle_of(page, "axial")
    for _ in range(60):
        page.mouse("Wheel", x, y, deltaX=0, deltaY=-120, modifiers=2)
    for _ in range(3):
        page.drag((x + 60, y), (x - 60, y), button="middle")
    page.key("x")
    seen = page.evaluate(
        f"{PIXELS}(document.querySelector('.pane canvas')).some((c, i) => i % 4 < 3 && c > 30)"
    )
    assert seen


def test_differences_are_red_where_the_volume_is_brighter(page, tmp_path):
    page.key("x")
    script = """['truth <b>', 'recon'].map((name) => {
      const pane = [...document.querySelectorAll('.pane')].filter(
        (p) => p.dataset.plane === 'coronal' && p.dataset.volume === name)[0];
      const c = pane.querySelector('canvas');
      const [x, y] = [c.width >> 1, c.height >> 1];
      const data = PIXELS(c);
      return [-30, 30].map((d) => [0, 1, 2].map((i) => data[4 * ((y + d) * c.width + x) + i]));
    })""".replace("PIXELS", PIXELS)
    page.key("d")
    page.picture(tmp_path / "difference.png")
    (first, _), (head, feet) = page.evaluate(script)
    assert first[0] == first[1] == first[2]  # the reference stays grey
    assert head[0] > 100 > head[2], head
    assert feet == [247, 247, 247], feet
    x, y = middle_of(page, "coronal")
    page.mouse("Moved", x, y - 30)
    _, (of_truth, of_recon) = readout(page)
    assert of_recon - of_truth == pytest.approx(EXTRA_HU, abs=1)
    assert f"(+{of_recon - of_truth})" in text(page, "#readout")
    assert "Δ recon" in page.evaluate(
        "[...document.querySelectorAll('.pane .name')].map((p) => p.textContent)"
    )
    assert text(page, "#scale-ends") == "−300 to +300 HU"


def test_a_line_drawn_by_hand_makes_the_profile(page, tmp_path):
    assert "row through the point, axial" in text(page, "#profile-head")
    x, y = middle_of(page, "coronal")
    per_mm = page.evaluate(
        "(() => { const p = document.querySelector('.pane[data-plane=coronal]');"
        " return Math.min(p.clientWidth / 45, p.clientHeight / 40); })()"
    )
    page.drag((x - 15 * per_mm, y), (x + 15 * per_mm, y), modifiers=8)
    page.picture(tmp_path / "line.png")
    assert text(page, "#profile-head").startswith("Profile along the line, 30 mm, coronal")
    page.key("Escape")
    assert "row through the point, coronal" in text(page, "#profile-head")
    page.key("p")
    assert page.evaluate("document.getElementById('profile').hidden")
    page.key("p")


def test_planes_fill_the_page_one_by_one_and_help_lists_the_keys(page, tmp_path):
    shown = "[...new Set([...document.querySelectorAll('.pane')].map((p) => p.dataset.plane))]"
    for key, plane in (("1", "axial"), ("2", "coronal"), ("3", "sagittal")):
        page.key(key)
        assert page.evaluate(shown) == [plane]
    page.key("0")
    assert len(page.evaluate(shown)) == 3
    page.key("?")
    assert page.evaluate("document.getElementById('help').open")
    page.picture(tmp_path / "help.png")
    page.key("?")
    assert not page.evaluate("document.getElementById('help').open")


def test_parts_in_any_number_make_up_the_volume(tmp_path, monkeypatch):
    """Seven requests for each volume, a third volume on another grid, a notice about it."""
    monkeypatch.setattr("diffusionblend.viewer.scene.CHUNK_BYTES", 3 * 24 * 30 * 2)
    coarse = Volume(
        truth().values[::2, ::2, ::2],
        Grid(shape=(10, 12, 15), spacing_mm=(4.0, 2.0, 3.0), origin_mm=GRID.origin_mm),
    )
    scene = Scene.of({"truth": truth(), "recon": brighter(), "coarse": coarse})
    with serving(scene) as server, chromium(tmp_path) as page:
        page.go(server.url, LOADED)
        assert len([r for r in page.requests if "/volume/" in r]) == 3 * 7
        assert "coarse (10 x 12 x 15" in text(page, "#notices")
        for key in ("Home", "PageDown", "End", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp"):
            page.key(key)
            voxel, hu = readout(page)
            assert hu == [int(v[voxel]) for v in scene.volumes.values()]
        page.picture(tmp_path / "three.png")
        static = tmp_path / "page.html"
        write_static_page(scene, static)
        page.requests.clear()
        page.go(static.as_uri(), LOADED)
        voxel, hu = readout(page)
        assert hu == [int(v[voxel]) for v in scene.volumes.values()]
        assert page.requests == [static.as_uri()]
        assert page.errors == []


def test_a_server_that_is_gone_is_reported(page, server):
    page.evaluate("window.fetch = () => Promise.reject(new Error('gone'))")
    page.evaluate("delete document.body.dataset.loaded; start()")
    page.wait("document.getElementById('notices').textContent.includes('(gone)')")
    assert page.evaluate("document.body.dataset.loaded === undefined")
    page.go(server.url, LOADED)


def test_attenuation_is_shown_in_its_own_unit_and_range(tmp_path):
    """A reconstruction in 1/mm: read-out, window, profile and sides."""
    values = (truth().values + 900) / 1800 * 0.12
    scene = Scene.of({"fbp": Volume(values, GRID), "tv": Volume(values * 0.9, GRID)}, "fbp")
    with serving(scene) as server, chromium(tmp_path) as page:
        page.go(server.url, LOADED)
        page.picture(tmp_path / "attenuation.png")
        assert "1/mm" in text(page, "#notices") and " HU" not in text(page, "#readout")
        z, y, x = (n // 2 for n in GRID.shape)
        for factor in (1.0, 0.9):
            assert f"{values[z, y, x] * factor:.5f} 1/mm" in text(page, "#readout")
        low, high = window(page)
        assert 0 <= low < 0.01 and 0.05 < high < 0.12
        assert "x 2.5  y −18.0  z 25.0 mm" in text(page, "#readout")
        assert 40 < grey_at_middle(page) < 250 or values[z, y, x] < low
        page.evaluate(
            "(() => { const f = document.getElementById('high'); f.value = 0.03;"
            " f.dispatchEvent(new Event('change')); })()"
        )
        page.settle()
        assert window(page)[1] == pytest.approx(0.03)
        page.key("f")
        assert window(page)[1] == pytest.approx(0.12, abs=0.002)
        page.key("d")
        assert "1/mm" in text(page, "#scale-ends")
        sides = page.evaluate("[...document.querySelectorAll('.side')].map((s) => s.textContent)")
        assert {"−x", "+x", "−z", "+z"} <= set(sides) and "R" not in sides
        assert page.errors == []
