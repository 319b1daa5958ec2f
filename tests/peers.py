"""Libraries that others work with: tests of the adapters to them skip where they are not there."""

from __future__ import annotations

import warnings
from importlib import import_module
from types import ModuleType

import pytest


def peer(name: str) -> ModuleType:
    """A library of the extra `peers`; skips where it is missing or cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_module(name)
        except (ImportError, RuntimeError, AttributeError) as error:  # of what it needs, too
            pytest.skip(f"no {name}: {error}")
