"""The standard deviation as colours over a volume: seen, turned on and off, read out, keyed.

Pictures of it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from browser import Page, chromium
from diffusionblend.data.volume import Volume
from diffusionblend.report.colours import OPACITY, on_black, overlay_rgba
from diffusionblend.viewer.page import write_static_page
from diffusionblend.viewer.scene import Scene
from viewer_page import LOADED, PIXELS, readout, text
from viewer_scenes import GRID, serving, truth

pytestmark = pytest.mark.browser

LIMIT_HU = 100.0
SPREAD_HU = {"left": 0.0, "right": 80.0}
"""Of the two halves of the picture."""
COLOURS = """(() => {
  const pane = [...document.querySelectorAll('.pane')].find(
    (p) => p.dataset.plane === 'axial' && p.dataset.volume === '%s');
  const c = pane.querySelector('canvas');
  const data = PIXELS(c);
  const middle = ((c.height >> 1) + 30) * c.width + (c.width >> 1);
  return [-30, 30].map((d) => [0, 1, 2].map((i) => data[4 * (middle + d) + i]));
})()""".replace("PIXELS", PIXELS)
"""The colours left and right of the middle of a volume's axial plane."""


def black_and_uncertain() -> Scene:
    """A reference, and black air whose right half (in the picture) is uncertain by 80 HU."""
    black = truth().with_values(np.full(GRID.shape, -1000.0))
    spread = np.zeros(GRID.shape)
    spread[:, :, GRID.shape[2] // 2 :] = SPREAD_HU["right"]
    return Scene.of({"truth": truth(), "recon": black}, "truth", {"recon": Volume(spread, GRID)})


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Page]:
    with (
        serving(black_and_uncertain()) as server,
        chromium(tmp_path_factory.mktemp("chromium")) as browser,
    ):
        browser.go(server.url, LOADED)
        assert len([r for r in browser.requests if "/volume/" in r]) == 3
        yield browser
        assert browser.errors == []


@pytest.fixture(autouse=True)
def first_view(page) -> None:
    page.evaluate("document.activeElement?.blur()")
    page.key("r")
    for key in ("x", "s"):  # nothing but voxels in the pictures
        page.key(key)


def expected_colour(spread_hu: float, limit_hu: float, opacity: float) -> np.ndarray:
    """By the Python that colours the report, over black."""
    return 255 * opacity * on_black(overlay_rgba(np.array(spread_hu), limit_hu))


def is_hidden(page: Page) -> bool:
    return page.evaluate("document.getElementById('deviation').hidden")


def set_field(page: Page, field: str, value: float, event: str) -> None:
    page.evaluate(
        f"(() => {{ const f = document.getElementById('{field}'); f.value = {value};"
        f" f.dispatchEvent(new Event('{event}')); }})()"
    )
    page.settle()


def test_colours_come_and_go_and_are_those_of_the_report(page, tmp_path):
    assert page.evaluate(COLOURS % "recon") == [[0, 0, 0], [0, 0, 0]]
    assert is_hidden(page)
    page.key("u")
    page.picture(tmp_path / "overlay.png")
    clear, coloured = page.evaluate(COLOURS % "recon")
    assert clear == [0, 0, 0]
    np.testing.assert_allclose(coloured, expected_colour(80, LIMIT_HU, OPACITY), atol=2)
    left, right = page.evaluate(COLOURS % "truth")
    assert left == [left[0]] * 3 and right == [right[0]] * 3  # it has no deviation: grey
    names = page.evaluate("[...document.querySelectorAll('.pane .name')].map(p => p.textContent)")
    assert set(names) == {"truth", "± recon"}
    assert not is_hidden(page)
    page.evaluate("document.querySelector('[data-switch=deviation]').click()")
    page.settle()
    assert page.evaluate(COLOURS % "recon") == [[0, 0, 0], [0, 0, 0]] and is_hidden(page)


def test_opacity_and_limit_are_set_by_fields_and_keys(page, tmp_path):
    page.key("u")
    assert page.evaluate("document.getElementById('deviation-limit').value") == "100"
    set_field(page, "opacity", 30, "input")
    np.testing.assert_allclose(
        page.evaluate(COLOURS % "recon")[1], expected_colour(80, LIMIT_HU, 0.3), atol=2
    )
    page.key("]")
    np.testing.assert_allclose(
        page.evaluate(COLOURS % "recon")[1], expected_colour(80, LIMIT_HU, 0.4), atol=2
    )
    for _ in range(9):
        page.key("]")
    assert page.evaluate("document.getElementById('opacity').value") == "100"
    set_field(page, "deviation-limit", 400, "change")
    np.testing.assert_allclose(
        page.evaluate(COLOURS % "recon")[1], expected_colour(80, 400, 1.0), atol=2
    )
    page.picture(tmp_path / "limit.png")
    set_field(page, "deviation-limit", "''", "change")  # an empty field is 1 HU, not none
    np.testing.assert_allclose(
        page.evaluate(COLOURS % "recon")[1], expected_colour(80, 1, 1.0), atol=2
    )


def test_the_deviation_is_read_out_beside_the_value(page):
    pane = "document.querySelector('.pane[data-plane=axial][data-volume=recon]')"
    box = page.evaluate(
        f"(() => {{ const b = {pane}.getBoundingClientRect();"
        " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    )
    for dx, spread in ((-30, 0), (30, 80)):
        page.mouse("Moved", box[0] + dx, box[1])
        _, hu = readout(page)
        assert hu[1] == -1000
        assert f"-1000 HU ± {spread} (" in text(page, "#readout")
        assert text(page, "#readout").count("±") == 1
    page.mouse("Moved", 2, 2)


def test_differences_and_deviations_are_not_shown_at_once(page):
    pressed = (
        "['difference', 'deviation'].map((n) =>"
        " document.querySelector(`[data-switch=${n}]`).getAttribute('aria-pressed'))"
    )
    page.key("u")
    assert page.evaluate(pressed) == ["false", "true"]
    page.key("d")
    assert page.evaluate(pressed) == ["true", "false"] and is_hidden(page)
    page.key("u")
    assert page.evaluate(pressed) == ["false", "true"]


def test_one_file_holds_the_deviation_too(page, tmp_path):
    """Last, since it leaves the served page."""
    static = tmp_path / "page.html"
    write_static_page(black_and_uncertain(), static)
    page.requests.clear()
    page.go(static.as_uri(), LOADED)
    for key in ("x", "s", "u"):
        page.key(key)
    _, coloured = page.evaluate(COLOURS % "recon")
    np.testing.assert_allclose(coloured, expected_colour(80, LIMIT_HU, OPACITY), atol=2)
    assert page.requests == [static.as_uri()]


def test_without_a_deviation_there_is_no_switch(page, tmp_path):
    static = tmp_path / "page.html"
    write_static_page(Scene.of({"truth": truth()}), static)
    page.go(static.as_uri(), LOADED)
    assert page.evaluate("document.querySelector('[data-switch=deviation]') === null")
    page.key("u")
    assert is_hidden(page)
