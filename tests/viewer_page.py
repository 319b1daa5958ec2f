"""What tests read off the viewer's page in a browser."""

from __future__ import annotations

from browser import Page

LOADED = "document.body.dataset.loaded === 'true'"
PIXELS = """((canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext('2d', {willReadFrequently: true});
  context.drawImage(canvas, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
})"""
"""A canvas's pixels, read without the page's own context."""


def text(page: Page, selector: str) -> str:
    return page.evaluate(f"document.querySelector('{selector}').textContent")


def readout(page: Page) -> tuple[tuple[int, ...], list[int]]:
    """The voxel (z, y, x) and the HU of each volume that are read out."""
    page.settle()
    script = """[document.getElementById('readout').dataset.voxel,
      [...document.querySelectorAll('#readout [data-hu]')].map((p) => Number(p.dataset.hu))]"""
    voxel, hu = page.evaluate(script)
    return tuple(map(int, voxel.split())), hu
