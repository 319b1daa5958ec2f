"""A scene of two volumes, and its server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from diffusionblend.viewer.scene import Scene
from diffusionblend.viewer.server import ViewerServer
from viewer_scenes import brighter, serving, truth


@pytest.fixture(scope="session")
def scene() -> Scene:
    return Scene.of({"truth <b>": truth(), "recon": brighter()}, "truth <b>")


@pytest.fixture(scope="session")
def server(scene) -> Iterator[ViewerServer]:
    with serving(scene) as running:
        yield running
