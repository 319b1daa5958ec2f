"""A geometry of another package: found by its entry point when a file contains it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import base
from diffusionblend.io.projections import read_projections, write_projections
from diffusionblend.io.volumes import read_volume
from diffusionblend.methods.api import reconstruct
from diffusionblend.operators import XRayTransform
from installed_package import installed
from small_scan import MU_WATER, small_volume

SWING = '''
"""A parallel beam that swings back and forth about the z axis."""

import math
from dataclasses import dataclass

from diffusionblend.geometry import Geometry, Grid, VectorGeometry


@dataclass(frozen=True, kw_only=True)
class Swing(Geometry, name="swing"):
    couples_slices = True
    n_swings: int
    n_rows: int
    n_columns: int
    column_mm: float

    @property
    def n_views(self) -> int:
        return self.n_swings

    def detector_rows(self, grid: Grid) -> int:
        return self.n_rows

    def to_vectors(self) -> VectorGeometry:
        turned = [math.pi * i / self.n_swings for i in range(self.n_swings)]
        return VectorGeometry(
            sources_mm=[(-math.sin(t), math.cos(t), 0.0) for t in turned],
            detectors_mm=[(0.0, 0.0, 0.0)] * self.n_swings,
            column_steps_mm=[
                (self.column_mm * math.cos(t), self.column_mm * math.sin(t), 0.0) for t in turned
            ],
            row_steps_mm=[(0.0, 0.0, 4.0)] * self.n_swings,
            n_rows=self.n_rows,
            n_columns=self.n_columns,
            parallel=True,
        )
'''
GROUP = "diffusionblend.geometries"
VOLUME = small_volume((3, 12, 12))


@pytest.fixture
def swing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with installed(tmp_path / "site", monkeypatch, GROUP, "swing", "swinging:Swing", SWING):
        yield
    base._registered.pop("swing", None)


def forget() -> None:
    """As a new process knows it: not at all."""
    sys.modules.pop("swinging", None)
    base._registered.pop("swing", None)


@pytest.fixture
def scan_file(swing, tmp_path) -> Path:
    from swinging import Swing

    geometry = Swing(n_swings=10, n_rows=3, n_columns=18, column_mm=2.5)
    lines = XRayTransform(geometry, VOLUME.grid) @ (MU_WATER * (1 + VOLUME.values / 1000))
    path = tmp_path / "scan.h5"
    write_projections(Projections(lines, geometry, VOLUME.grid, MU_WATER), path)
    forget()
    return path


def test_a_file_with_it_is_read_without_importing_its_module_first(scan_file):
    scan = read_projections(scan_file)
    assert type(scan.geometry).__name__ == "Swing" and scan.geometry.column_mm == 2.5
    assert scan.geometry.n_views == 10


def test_the_command_line_describes_and_reconstructs_it(cli, scan_file, tmp_path):
    told = cli("projections", "info", scan_file, "--json")
    assert told.code == 0 and "swing" in json.loads(told.out)["geometry"].lower(), told
    forget()
    output = tmp_path / "volume.nii.gz"
    done = cli("reconstruct", scan_file, "-o", output, "--method", "cgls", "--device", "cpu")
    assert done.code == 0, done.err
    by_python = reconstruct(read_projections(scan_file), "cgls", device="cpu").volume
    np.testing.assert_allclose(read_volume(output).values, by_python.values, atol=1)


def test_without_its_package_it_says_how_to_get_it(scan_file, monkeypatch, tmp_path):
    site = str(tmp_path / "site")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != site])
    with pytest.raises(InputError, match="'swing' is unknown") as raised:
        read_projections(scan_file)
    assert GROUP in raised.value.try_ and "'parallel'" in raised.value.expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_of_this_name", "cannot be imported"),
        (SWING.replace('name="swing"', 'name="swung"'), "own name is 'swung'"),
        ("class Swing: pass", "not derived from Geometry"),
    ],
)
def test_a_broken_package_is_named(scan_file, tmp_path, source, words):
    (tmp_path / "site" / "swinging.py").write_text(source)
    sys.path_importer_cache.clear()
    for cached in (tmp_path / "site").rglob("*.pyc"):
        cached.unlink()
    with pytest.raises(InputError, match=words) as raised:
        read_projections(scan_file)
    assert str(scan_file) in raised.value.got and "swinging" in str(raised.value)
    base._registered.pop("swung", None)
