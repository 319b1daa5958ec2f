"""The option that writes the golden values anew, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from golden.cases import CASES, Golden

VALUES = Path(__file__).with_name("values.json")
SHOWN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write tests/golden/values.json anew and print the largest changes",
    )


@pytest.fixture(scope="session")
def kept() -> dict[str, Golden]:
    """The stored values of every case, as they were when the tests began."""
    stored = json.loads(VALUES.read_text()) if VALUES.exists() else {}
    return {name: Golden(v["psnr_db"], tuple(v["hu"])) for name, v in stored.items()}


@pytest.fixture(scope="session")
def updated(
    request: pytest.FixtureRequest, kept: dict[str, Golden]
) -> Iterator[dict[str, Golden] | None]:
    """Where an update puts its values, which are written at the end; None where there is none."""
    if not request.config.getoption("--update-golden", default=False):
        yield None
        return
    new: dict[str, Golden] = {}
    yield new
    every = {name: g for name, g in sorted((kept | new).items()) if name in CASES}
    lines = [f"  {json.dumps(name)}: {json.dumps(asdict(g))}" for name, g in every.items()]
    VALUES.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("", *changes(kept, new), sep="\n")


def changes(old: dict[str, Golden], new: dict[str, Golden]) -> list[str]:
    """The largest changes in words, the largest first."""
    same = [n for n in new if n in old and len(old[n].hu) == len(new[n].hu)]
    by_hu = {n: float(np.abs(np.subtract(old[n].hu, new[n].hu)).max()) for n in same}
    found = [f"new or of another size: {n}" for n in new if n not in same]
    for name in sorted(by_hu, key=by_hu.__getitem__, reverse=True)[:SHOWN]:
        by_db = new[name].psnr_db - old[name].psnr_db
        found.append(f"{name}: {by_hu[name]:.2f} HU at most, PSNR {by_db:+.4f} dB")
    return found
