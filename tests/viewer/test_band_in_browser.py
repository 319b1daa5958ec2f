"""Half the width of the 90 % band as colours over a volume: seen, turned on and off, read out.

Pictures of it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from browser import Page, chromium
from diffusionblend.data.volume import Volume
from diffusionblend.report.colours import OPACITY, deviation_limit_hu, on_black, overlay_rgba
from diffusionblend.viewer.scene import Scene
from viewer_page import LOADED, PIXELS, readout, text
from viewer_scenes import GRID, serving, truth

pytestmark = pytest.mark.browser

SPREAD_HU, BAND_HU = 80.0, 210.0
"""In the right half of the picture; 0 in the left."""
LIMITS_HU = {
    "u": deviation_limit_hu([np.array(SPREAD_HU)]),
    "9": deviation_limit_hu([np.array(BAND_HU)]),
}
SHOWN_HU = {"u": SPREAD_HU, "9": BAND_HU}
PANE = "document.querySelector('.pane[data-plane=axial][data-volume=recon]')"
COLOURS = f"""(() => {{
  const c = {PANE}.querySelector('canvas');
  const data = {PIXELS}(c);
  const middle = ((c.height >> 1) + 30) * c.width + (c.width >> 1);
  return [-30, 30].map((d) => [0, 1, 2].map((i) => data[4 * (middle + d) + i]));
}})()"""
"""The colours left and right of the middle of the reconstruction's axial plane."""
PRESSED = (
    "['deviation', 'band', 'difference'].map((n) =>"
    " document.querySelector(`[data-switch=${n}]`).getAttribute('aria-pressed') === 'true')"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Page]:
    """A reference, and black air whose right half (in the picture) is uncertain."""
    widths = {}
    for name, hu in (("deviation", SPREAD_HU), ("band", BAND_HU)):
        values = np.zeros(GRID.shape)
        values[:, :, GRID.shape[2] // 2 :] = hu
        widths[name] = {"recon": Volume(values, GRID)}
    black = truth().with_values(np.full(GRID.shape, -1000.0))
    volumes = {"truth": truth(), "recon": black}
    scene = Scene.of(volumes, "truth", widths["deviation"], widths["band"])
    with serving(scene) as server, chromium(tmp_path_factory.mktemp("chromium")) as browser:
        browser.go(server.url, LOADED)
        yield browser
        assert browser.errors == []


@pytest.fixture(autouse=True)
def first_view(page) -> None:
    page.evaluate("document.activeElement?.blur()")
    for key in ("r", "x", "s"):  # nothing but voxels in the pictures
        page.key(key)


def test_the_band_comes_and_goes_in_the_colours_of_its_own_range(page, tmp_path) -> None:
    assert page.evaluate(COLOURS) == [[0, 0, 0], [0, 0, 0]]
    for key in ("9", "u", "9"):
        page.key(key)
        page.picture(tmp_path / f"{key}.png")
        clear, coloured = page.evaluate(COLOURS)
        shown, limit = np.array(SHOWN_HU[key]), LIMITS_HU[key]
        expected = 255 * OPACITY * on_black(overlay_rgba(shown, limit))
        assert clear == [0, 0, 0]
        np.testing.assert_allclose(coloured, expected, atol=2)
        assert page.evaluate("document.getElementById('deviation-limit').value") == f"{limit:g}"
    assert "90 % ± recon" in page.evaluate(f"{PANE}.querySelector('.name').textContent")
    page.key("9")
    assert page.evaluate(COLOURS) == [[0, 0, 0], [0, 0, 0]]


def test_one_of_band_deviation_and_difference_is_shown(page) -> None:
    for key, pressed in (
        ("9", [False, True, False]),
        ("u", [True, False, False]),
        ("9", [False, True, False]),
        ("d", [False, False, True]),
    ):
        page.key(key)
        assert page.evaluate(PRESSED) == pressed, key


def test_the_band_is_read_out_beside_the_value(page) -> None:
    x, y = page.evaluate(
        f"(() => {{ const b = {PANE}.getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    for dx, spread, band in ((-30, 0, 0), (30, 80, 210)):
        page.mouse("Moved", x + dx, y)
        _, hu = readout(page)
        assert hu[1] == -1000
        assert f"± {spread} " in text(page, "#readout")
        assert f"(90 %: ± {band})" in text(page, "#readout")
    page.mouse("Moved", 2, 2)
