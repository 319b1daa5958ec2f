"""The page on a phone: all of it is there, fingers zoom, move and go through the slices.

Pictures of it are kept in a folder of pytest's, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from browser import Page, chromium
from diffusionblend.viewer.scene import Scene
from viewer_page import LOADED, readout, text
from viewer_scenes import brighter, serving, truth

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 390, 844
BESIDE = """[...document.querySelectorAll('header *, footer *, .pane .slices')].filter((e) => {
  const box = e.getBoundingClientRect();
  return box.width && (box.left < 0 || box.right > window.innerWidth);
}).map((e) => e.outerHTML.slice(0, 60))"""
OVERLAPS = """(() => {
  const found = [];
  for (const pane of document.querySelectorAll('.pane')) {
    const shown = [...pane.querySelectorAll('span')].filter((s) => s.textContent);
    shown.forEach((a, i) => shown.slice(i + 1).forEach((b) => {
      const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
      if (p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom) {
        found.push(`${a.textContent} over ${b.textContent}`);
      }
    }));
  }
  return found;
})()"""
MIDDLE = """(() => { const b = document.querySelector('.pane').getBoundingClientRect();
  return [b.left + b.width / 2, b.top + b.height / 2]; })()"""
SLIDER = """(() => { const b = document.querySelector('.pane .slices').getBoundingClientRect();
  return [b.left, b.top + b.height / 2, b.width]; })()"""


LONG_NAMES = ("LIDC-IDRI-0001", "diffusionblend-8-views", "admm-tv-8-views-weight-1")
SLAB = """((field) => { field.value = '10';
  field.dispatchEvent(new Event('change', {bubbles: true})); })(document.getElementById('slab'))"""


@contextmanager
def on_a_phone(url: str, folder: Path) -> Iterator[Page]:
    """The viewer's page on a narrow screen that fingers touch."""
    with chromium(folder, size=(WIDTH, HEIGHT)) as page:
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH,
            height=HEIGHT,
            deviceScaleFactor=2,
            mobile=True,
        )
        page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
        page.go(url, LOADED)
        yield page
        assert page.errors == []


@pytest.fixture
def phone(server, tmp_path):
    with on_a_phone(server.url, tmp_path) as page:
        yield page


def touch(page, kind, *points):
    """Fingers at some places: Start, Move; End without any."""
    fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
    page.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=fingers)


def test_nothing_lies_beside_the_screen_or_over_another(phone, tmp_path):
    phone.picture(tmp_path / "phone.png")
    check_nothing_is_hidden(phone)
    assert phone.evaluate("document.querySelector('.pane').clientHeight") > 60


def check_nothing_is_hidden(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    assert page.evaluate(BESIDE) == []
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_long_names_slabs_and_regions_leave_each_other_room(count, tmp_path):
    volumes = {name: brighter() if i else truth() for i, name in enumerate(LONG_NAMES[:count])}
    scene = Scene.of(volumes, LONG_NAMES[0] if count > 1 else None)
    with serving(scene) as server, on_a_phone(server.url, tmp_path) as page:
        check_nothing_is_hidden(page)
        shown = page.evaluate("document.querySelector('.pane .name').clientWidth")
        assert shown > 80, "a name of which something is left"
        page.evaluate(SLAB)
        page.settle()
        assert "mean 10 mm" in text(page, ".pane .place")
        check_nothing_is_hidden(page)
        page.evaluate("document.querySelector('[data-tool=region]').click()")
        x, y = page.evaluate(MIDDLE)
        touch(page, "Start", (x - 20, y - 10))
        touch(page, "Move", (x + 10, y + 10))
        touch(page, "Move", (x + 20, y + 15))
        touch(page, "End")
        page.settle()
        assert "sd" in text(page, ".pane .region")
        page.picture(tmp_path / f"crowded-{count}.png")
        check_nothing_is_hidden(page)
        page.evaluate("document.getElementById('more').click()")
        page.settle()
        check_nothing_is_hidden(page)


def test_two_fingers_zoom_and_move_the_picture(phone):
    touch(phone, "Start", phone.evaluate(MIDDLE))  # one finger points
    touch(phone, "End")
    before, _ = readout(phone)
    x, y = phone.evaluate(MIDDLE)
    touch(phone, "Start", (x - 10, y), (x + 10, y))
    for apart in (15, 25, 40):
        touch(phone, "Move", (x - apart, y), (x + apart, y))
    touch(phone, "End")
    phone.settle()
    assert readout(phone)[0] == before, "two fingers do not move the point"
    touch(phone, "Start", (x + 24, y))
    touch(phone, "End")
    zoomed, _ = readout(phone)
    phone.evaluate("document.getElementById('reset').click()")
    touch(phone, "Start", (x + 24, y))
    touch(phone, "End")
    whole, _ = readout(phone)
    assert abs(zoomed[2] - before[2]) * 3 < abs(whole[2] - before[2]), (before, zoomed, whole)


def test_the_slices_are_gone_through_by_a_finger(phone):
    place = text(phone, ".pane .place")
    left, y, width = phone.evaluate(SLIDER)
    touch(phone, "Start", (left + 0.5 * width, y))
    touch(phone, "Move", (left + 0.7 * width, y))
    touch(phone, "Move", (left + 0.95 * width, y))
    touch(phone, "End")
    phone.settle()
    assert text(phone, ".pane .place") != place
