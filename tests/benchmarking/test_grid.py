"""A grid of cells as its file says it: setups, cells by their settings, measured scans."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from diffusionblend import AdmmTv, Dds, InputError
from diffusionblend.benchmarking.grid import CellSpec, Grid, read_grid
from diffusionblend.benchmarking.setups import Setup, simulated
from diffusionblend.data.volume import Volume
from diffusionblend.methods import Cg
from small_scan import small_volume

WHOLE = """
views = [8, 4]
arc_degrees = 90
photons = ["none", 1e5]
seeds = [3, 5]
priors = ["chest", "mine"]
tune_on = "train.nii.gz"

[[setup]]
views = 20
arc_degrees = 120
geometry = "fan"

[[cell]]
method = "dds"
consistency = "cg"
cg_iterations = 8
steps = [20, 50]
label = "DDS, {steps} steps"

[[cell]]
method = "admm-tv"
seeds = 1

[[scan]]
file = "scan.h5"
reference = "all.nii.gz"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_a_file_is_the_grid_that_python_would_make(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    grid = read_grid(written(tmp_path, WHOLE))
    assert grid.setups == (
        *(Setup(views=8), Setup(views=4), Setup(views=90, arc_degrees=90)),
        *(Setup(views=8, photons=1e5), Setup(views=4, photons=1e5)),
        Setup(views=90, arc_degrees=90, photons=1e5),
        Setup(views=20, arc_degrees=120, geometry="fan"),
    )
    few, many, tv = grid.cells
    assert few.method == Dds(consistency=Cg(cg_iterations=8), steps=20)
    assert (few.label, many.label) == ("DDS, 20 steps", "DDS, 50 steps")
    assert many.method.steps == 50 and many.given == {"consistency", "cg_iterations", "steps"}
    assert tv.method == AdmmTv() and tv.label == "admm-tv" and tv.seeds == (0,)
    assert grid.seeds_of(few) == (3, 5) and grid.seeds_of(tv) == (0,)
    assert grid.priors == ("chest", str(tmp_path / "mine"))  # a folder beside the file
    assert grid.tune_on == tmp_path / "train.nii.gz"
    assert (grid.scans[0].file, grid.scans[0].name) == (tmp_path / "scan.h5", "scan")


def test_lists_make_every_combination_and_labels_that_distinguish_them(tmp_path: Path) -> None:
    cell = '[[cell]]\nmethod = "admm-tv"\nweight = [0.3, 1.0, 3.0]\niterations = [20, 30]\n'
    grid = read_grid(written(tmp_path, f"views = 4\n{cell}"))
    pairs = [(c.method.weight, c.method.iterations) for c in grid.cells]
    assert pairs == [*itertools.product((0.3, 1.0, 3.0), (20, 30))]
    assert grid.cells[0].label == "admm-tv, weight 0.3, iterations 20"


def test_what_the_line_says_replaces_what_the_file_says(tmp_path: Path) -> None:
    path = written(tmp_path, 'views = [8, 4]\nseeds = 3\n[[cell]]\nmethod = "dds"\n')
    grid = read_grid(path, views=(6,), seeds=2, slices=None)
    assert grid.setups == (Setup(views=6),) and grid.seeds == (0, 1)
    assert grid.slices is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("views = [", "cannot be read as TOML"),
        ("views = " + "[" * 9999, "it is nested too deeply"),
        ("views = " + "9" * 9999, "cannot be read as TOML: Exceeds the limit"),
        (
            'veiws = 4\n[[cell]]\nmethod = "fbp"',
            "has 'veiws', which no grid has there(.|\n)*did you mean views",
        ),
        ("views = 4", "has no cell"),
        ('[[cell]]\nmethod = "fbp"', "has no setup"),
        ('views = 4\n[[cell]]\nmethod = "fpb"', "no method 'fpb'"),
        ('views = 4\n[[cell]]\nmethod = "fbp"\nsteps = 3', "fbp has no setting 'steps'"),
        ('views = 4\n[[cell]]\nlabel = "x"', "names no method"),
        ('views = 4\n[[cell]]\nmethod = "fbp"\nlabel = "{steps}"', "cannot be filled in"),
        ('views = 4\n[[cell]]\nmethod = "fbp"\n[[cell]]\nmethod = "fbp"', "labelled 'fbp'"),
        ('views = 4\n[[cell]]\nmethod = "fbp"\nsamples = 4', "asked for 4 samples"),
        ('views = 4\nseeds = "3"\n[[cell]]\nmethod = "fbp"', "seeds is '3'"),
        ('views = "4"\n[[cell]]\nmethod = "fbp"', "views is '4'"),
        ('views = 2000000000\n[[cell]]\nmethod = "fbp"', "at most 1e.06"),
        ('views = 4\ngeometry = "spiral"\n[[cell]]\nmethod = "fbp"', "geometry is 'spiral'"),
        (
            '[[cell]]\nmethod = "fbp"\n[[setup]]\ngeometry = "helix"\narc_degrees = 90',
            "of a helix",
        ),
        ('arc_degrees = 200\n[[cell]]\nmethod = "fbp"', "arc of 200 degrees"),
        ('[[setup]]\nviews = 4\narc = 90\n[[cell]]\nmethod = "fbp"', r"\[\[setup\]\] has 'arc'"),
        ('views = 4\nsize = "none"\n[[cell]]\nmethod = "fbp"', "size is 'none'"),
        ('views = 4\nphotons = "many"\n[[cell]]\nmethod = "fbp"', "photons is 'many'(.|\n)*'none'"),
        ('[[scan]]\nfile = "a.h5"\n[[cell]]\nmethod = "fbp"', "file and reference"),
    ],
)
def test_what_is_no_grid_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_grid(written(tmp_path, text + "\n"))


def test_a_grid_that_is_not_there_is_reported_without_a_number_of_the_system(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"There is no .*none\.toml") as raised:
        read_grid(tmp_path / "none.toml")
    assert "Errno" not in str(raised.value)


def test_an_ensemble_begins_with_the_first_seed() -> None:
    cell = CellSpec(label="mean", method=Dds(), samples=4)
    assert Grid(cells=(cell,), setups=(Setup(),), seeds=(2, 3)).seeds_of(cell) == (2,)


def square() -> Volume:
    return small_volume((4, 16, 16))


@pytest.mark.parametrize("geometry", ["parallel", "fan", "cone"])
def test_a_setup_is_measured_as_it_says(geometry: str) -> None:
    setup = Setup(views=10, arc_degrees=90, geometry=geometry)
    scan = simulated(square(), setup)
    assert type(scan.geometry).__name__.lower().startswith(geometry)
    assert scan.geometry.n_views == 10
    assert max(scan.geometry.angles_rad) == pytest.approx(1.41372, abs=1e-4)  # 81 degrees
    assert "photons" not in scan.notes
    noisy = simulated(square(), Setup(views=10, geometry=geometry, photons=1e3))
    assert noisy.notes["photons"] == 1e3
    assert (
        abs(noisy.values - simulated(square(), Setup(views=10, geometry=geometry)).values).max() > 0
    )


def test_a_simulation_from_finer_pixels_is_a_setup_of_its_own(tmp_path: Path) -> None:
    text = 'views = 8\noversample = [1, 2]\n\n[[cell]]\nmethod = "fbp"\n'
    same, finer = read_grid(written(tmp_path, text)).setups
    assert (same, finer) == (Setup(views=8), Setup(views=8, oversample=2))
    assert (same.name, finer.name) == ("8 views", "8 views, from 2 x finer pixels")
    assert "oversample" not in same.facts()  # results that are there keep their keys
    assert finer.facts()["oversample"] == 2


def test_finer_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    from diffusionblend.benchmarking.cells import Subject
    from diffusionblend.io.volumes import write_volume

    path = tmp_path / "volume.nii.gz"
    write_volume(small_volume((6, 32, 32)), path)
    subject = Subject.read(path, size=16, n_slices=4)
    scan = subject.scan(Setup(views=5, oversample=2))
    assert scan.grid.shape == subject.truth.grid.shape == (4, 16, 16)
    assert scan.grid.spacing_mm == pytest.approx(subject.truth.grid.spacing_mm)
    assert scan.notes["simulated_shape"] == [4, 32, 32]
    assert subject.middle(2).scan(Setup(views=5, oversample=2)).grid.shape == (2, 16, 16)
    with pytest.raises(InputError, match="64 was asked for"):
        subject.scan(Setup(views=5, oversample=4))
