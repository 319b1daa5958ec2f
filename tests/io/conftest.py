"""Fixtures for failing disks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

SMALL_BYTES = 256 << 10


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """A limit of 256 KiB on every file this process writes, which needs no root."""
    resource = pytest.importorskip("resource", reason="a limit on file sizes needs Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
