"""The viewer inside a notebook's cell."""

from __future__ import annotations

import html

from diffusionblend.data.volume import Volume
from diffusionblend.viewer.page import viewer_page
from diffusionblend.viewer.scene import Scene

CELL_PIXELS = 620


class ViewerCell:
    """The viewer's page as the value of a cell; `page` is its HTML."""

    def __init__(self, scene: Scene, height: int) -> None:
        self.page, self.height = viewer_page(scene, embedded=True), height

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.page)}" width="100%" height="{self.height}" '
            'style="border: 0" title="volumes"></iframe>'
        )


def show(
    *, reference: Volume | None = None, height: int = CELL_PIXELS, **volumes: Volume
) -> ViewerCell:
    """The viewer of volumes by name in a notebook's cell: planes, windows, differences.

    `show(reference=chest, fbp=fbp)`. height: of the cell, in pixels. All in HU or all in 1/mm;
    the volumes are inside the page, so keep them small. Raises InputError as `diffusionblend view`.
    """
    shown = volumes if reference is None else {"reference": reference, **volumes}
    return ViewerCell(Scene.of(shown, None if reference is None else "reference"), height)
