"""A benchmark as a table of cells: which methods with which settings, on which scans.

A grid is a TOML file:

    views = [8, 4]                # each over 180 degrees (360 of a fan, cone, helix)
    arc_degrees = [90]            # limited arcs, one view a degree
    geometry = "parallel"         # or several: ["parallel", "fan"]
    photons = ["none", 1e5]       # an unattenuated detector pixel; none: noiseless
    oversample = [1, 2]           # pixels of the simulation are so much finer; 1: the same
    seeds = 3                     # or a list of seeds; of methods that draw noise
    priors = ["chest"]

    [[setup]]                     # any other scan
    views = 20
    arc_degrees = 120

    [[cell]]
    method = "dds"                # or several
    steps = [20, 50]              # a list makes a cell of each value
    label = "DDS, {steps} steps"

    [[scan]]                      # a measured scan with its reference volume
    file = "scan.h5"
    reference = "all-views.nii.gz"
"""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from diffusionblend.benchmarking.setups import Setup
from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable
from diffusionblend.io.foreign.edge import reason_of
from diffusionblend.io.json_file import NO_JSON
from diffusionblend.methods import METHODS
from diffusionblend.methods.api import make_method
from diffusionblend.methods.base import Method
from diffusionblend.priors.store import default_priors

PRIOR_ROLES = ("prior", "coronal_prior", "coarse_prior")
OWN_KEYS = ("method", "label", "seeds", "samples", *PRIOR_ROLES)
"""Keys of a cell beside its method's settings."""
SETUP_KEYS = ("views", "arc_degrees", "geometry", "photons", "oversample")
NOISELESS = "none"


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """A method with its settings, as a row of the tables shows it.

    label: its name there. given: the settings that were named, flat; only others are searched.
    seeds: None for the grid's. samples: of an ensemble whose mean is scored, 1 for none. priors:
    names or folders by their roles, for those that the grid's collection does not decide.
    """

    label: str
    method: Method
    given: frozenset[str] = frozenset()
    seeds: tuple[int, ...] | None = None
    samples: int = 1
    priors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ScanFile:
    """A measured scan (.h5), the volume in HU that it is compared with, and its name."""

    file: Path
    reference: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cells by setups, and what they share. Raises InputError where there is nothing to run.

    size: of the slices in pixels, by default that of the priors. slices: from the middle of each
    volume, all by default. tune_on: a training volume on which settings are searched.
    """

    cells: tuple[CellSpec, ...]
    setups: tuple[Setup, ...] = ()
    scans: tuple[ScanFile, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    priors: tuple[str, ...] = field(default_factory=default_priors)
    size: int | None = None
    slices: int | None = None
    tune_on: Path | None = None

    def __post_init__(self) -> None:
        if not self.cells or not self.seeds or not (self.setups or self.scans):
            parts = {"cell": self.cells, "setup": self.setups or self.scans, "seed": self.seeds}
            raise InputError(
                f"The benchmark has no {' and no '.join(n for n, v in parts.items() if not v)}.",
                "at least one cell, one setup (views, arc_degrees) or measured scan, and one seed",
            )
        labels = [cell.label for cell in self.cells]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise InputError(
                f"Several cells are labelled {', '.join(map(repr, twice))}.",
                "a label of its own for each cell",
                'label = "..." in the cell; {steps} in it stands for the setting',
            )
        for name in ("size", "slices"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name} is {value!r}.", "a whole number from 1")

    def seeds_of(self, cell: CellSpec) -> tuple[int, ...]:
        """The seeds of a cell: one where it draws no noise or takes an ensemble of samples."""
        if cell.seeds is not None:
            seeds = cell.seeds
        else:
            seeds = self.seeds if cell.method.is_random else (0,)
        return seeds[:1] if cell.samples > 1 else seeds


def read_grid(path: Path, **changes: Any) -> Grid:
    """The grid of a TOML file; paths in it are relative to its folder. Raises InputError.

    changes: values that replace the file's own, as TOML would have them; None for none.
    """
    check_readable(path)
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, *NO_JSON) as error:
        raise InputError(
            f"{path} cannot be read as TOML: {reason_of(error)}.", "a grid of cells"
        ) from error
    text |= {name: value for name, value in changes.items() if value is not None}
    known = {f.name for f in fields(Grid)} - {"cells", "setups", "scans"} | set(SETUP_KEYS)
    _refuse_unknown(text, known | {"cell", "setup", "scan"}, f"{path}")
    folder = path.parent
    given: dict[str, Any] = {n: text[n] for n in ("size", "slices") if n in text}
    if "priors" in text:
        given["priors"] = tuple(_prior_at(name, folder) for name in _listed(text["priors"]))
    if "seeds" in text:
        given["seeds"] = seeds_from(text["seeds"])
    if "tune_on" in text:
        given["tune_on"] = folder / text["tune_on"]
    try:
        cells = [cell for one in text.get("cell", []) for cell in _cells(one, folder)]
        scans = [_scan(one, folder) for one in text.get("scan", [])]
        for one in text.get("setup", []):
            _refuse_unknown(one, {f.name for f in fields(Setup)}, "[[setup]]")
        setups = (*setups_from(text), *(Setup(**one) for one in text.get("setup", [])))
        return Grid(cells=tuple(cells), setups=setups, scans=tuple(scans), **given)
    except TypeError as error:
        raise InputError(f"{path}: {error}", "keys and values of a grid") from error


def setups_from(given: Mapping[str, Any]) -> tuple[Setup, ...]:
    """Every combination of views and arcs with how they are measured; each may be a list."""
    found = []
    for geometry, photons, oversample in itertools.product(
        _listed(given.get("geometry", "parallel")),
        _listed(given.get("photons", NOISELESS)),
        _listed(given.get("oversample", 1)),
    ):
        if isinstance(photons, str) and photons != NOISELESS:
            raise InputError(f"photons is {photons!r}.", f"a number above 0, or {NOISELESS!r}")
        photons = None if photons == NOISELESS else photons
        beam = {"geometry": geometry, "photons": photons, "oversample": oversample}
        found += [Setup(views=n, **beam) for n in _listed(given.get("views", []))]
        found += [Setup.of_arc(arc, **beam) for arc in _listed(given.get("arc_degrees", []))]
    return tuple(found)


def seeds_from(given: Any) -> tuple[int, ...]:
    """Seeds from 0 on by their number, or those of a list. Raises InputError."""
    seeds = range(given) if isinstance(given, int) else given
    if not isinstance(seeds, range | list | tuple) or not all(isinstance(s, int) for s in seeds):
        raise InputError(f"seeds is {given!r}.", "their number, or a list of whole numbers")
    return tuple(seeds)


def _cells(given: Mapping[str, Any], folder: Path) -> Iterator[CellSpec]:
    """The cells of a table: one for every combination of the values that are lists."""
    if "method" not in given:
        raise InputError(f"A cell names no method: {dict(given)}.", f"one of {', '.join(METHODS)}")
    for name in _listed(given["method"]):
        yield from _cells_of(name, given, folder)


def _cells_of(name: str, given: Mapping[str, Any], folder: Path) -> Iterator[CellSpec]:
    settings = {name: value for name, value in given.items() if name not in OWN_KEYS}
    swept = [name for name, value in settings.items() if isinstance(value, list)]
    for values in itertools.product(*(settings[name] for name in swept)):
        chosen = settings | dict(zip(swept, values, strict=True))
        method = make_method(name, **chosen)
        suffix = "".join(f", {name} {chosen[name]}" for name in swept)
        yield CellSpec(
            label=_label(given.get("label"), chosen | {"method": name}) or f"{method.name}{suffix}",
            method=method,
            given=frozenset(chosen),
            seeds=seeds_from(given["seeds"]) if "seeds" in given else None,
            samples=_samples(given.get("samples", 1), method),
            priors={r: _prior_at(given[r], folder) for r in PRIOR_ROLES if r in given},
        )


def _label(pattern: str | None, settings: Mapping[str, Any]) -> str | None:
    try:
        return None if pattern is None else pattern.format(**settings)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"The label {pattern!r} cannot be filled in: {error}.",
            f"names of settings of its cell in braces: {', '.join(settings)}",
        ) from error


def _samples(count: Any, method: Method) -> int:
    from diffusionblend.methods.api import check_can_sample

    if not isinstance(count, int):
        raise InputError(f"samples is {count!r}.", "a whole number")
    check_can_sample(method, count)
    return count


def _scan(given: Mapping[str, Any], folder: Path) -> ScanFile:
    _refuse_unknown(given, {"file", "reference", "name"}, "[[scan]]")
    if not {"file", "reference"} <= set(given):
        raise InputError(f"[[scan]] has {', '.join(given)}.", "file and reference")
    file = folder / given["file"]
    return ScanFile(
        file=file, reference=folder / given["reference"], name=given.get("name", file.stem)
    )


def _prior_at(name: str, folder: Path) -> str:
    """A prior's folder beside the grid's file, or the name as it is."""
    return str(folder / name) if (folder / name).is_dir() else name


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _refuse_unknown(given: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], sorted(known), 1)
        raise InputError(
            f"{where} has {', '.join(map(repr, unknown))}, which no grid has there.",
            f"keys among {', '.join(sorted(known))}",
            f"did you mean {near[0]}?" if near else "",
        )


def with_settings(cell: CellSpec, **settings: Any) -> CellSpec:
    """The same cell with other settings, which count as given."""
    method = make_method(cell.method, **settings)
    return replace(cell, method=method, given=cell.given | frozenset(settings))
