"""Small scenes in which every voxel differs from the others, and servers of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.viewer.scene import Scene
from diffusionblend.viewer.server import ViewerServer

GRID = Grid(shape=(20, 24, 30), spacing_mm=(2.0, 1.0, 1.5), origin_mm=(-20.0, -30.0, 5.0))
MARKER = (5, 7, 21)
"""Towards the feet, the front and the left."""
MARKER_HU = 900.4
EXTRA_HU = 250.0
"""How much brighter the second volume is in its half towards the head."""


@contextmanager
def serving(scene: Scene) -> Iterator[ViewerServer]:
    """A running server of a scene."""
    server = ViewerServer(scene)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def truth() -> Volume:
    """Noise between -900 and 0 HU, and one bright voxel."""
    values = np.random.default_rng(0).uniform(-900, 0, GRID.shape)
    values[MARKER] = MARKER_HU
    return Volume(values, GRID)


def brighter() -> Volume:
    """The truth, brighter in the half towards the head."""
    values = truth().values.copy()
    values[GRID.shape[0] // 2 :] += EXTRA_HU
    return Volume(values, GRID)
