"""Fixtures shared by the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CT data; tests that need it skip where it is absent."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("DIFFUSIONBLEND_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real CT data at {folder}; set DIFFUSIONBLEND_DATA")
    return folder
