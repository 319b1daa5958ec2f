"""A method, and a data-consistency step, of another package: one file, and everything has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.io.projections import write_projections
from diffusionblend.io.volumes import read_volume, write_volume
from diffusionblend.methods import METHODS, Cg
from diffusionblend.methods.api import make_method, reconstruct
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
from diffusionblend.methods.problem import Problem
from installed_package import installed
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior

METHOD = '''
"""One step of steepest descent after another: Landweber's iteration."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from diffusionblend.methods import AtLeastOne, Method, Positive, Solution


@dataclass(frozen=True, kw_only=True)
class Landweber(Method):
    """Landweber's iteration: steepest descent with steps of one length."""

    name: ClassVar[str] = "landweber"
    summary: ClassVar[str] = "steepest descent, steps of one length"
    when: ClassVar[str] = "a lesson"
    basic: ClassVar[tuple[str, ...]] = ("iterations",)

    iterations: Annotated[int, AtLeastOne] = 5
    """Steps of the descent."""
    step_length: Annotated[float, Positive] = 0.002
    """Length of every step, times the gradient."""

    def run(self, problem, priors, execution):
        x = problem.empty_volume()
        for i in range(self.iterations):
            misfit = problem.operator.forward(x) - problem.y
            x = x - self.step_length * problem.operator.adjoint(misfit)
            execution.on_step(i + 1, self.iterations)
        return Solution(x)
'''

STEP = '''
"""The estimate pulled along the gradient of the data misfit, once."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from diffusionblend.methods import Consistency, ConsistencyStep, Positive


class PullStep(ConsistencyStep):
    def __init__(self, problem, length):
        self.problem, self.length = problem, length

    def __call__(self, x0, slices):
        part = self.problem.of_slices(slices)
        misfit = part.operator.forward(x0) - part.y
        return x0 - self.length * part.operator.adjoint(misfit)


@dataclass(frozen=True, kw_only=True)
class Pull(Consistency):
    """One step of steepest descent."""

    name: ClassVar[str] = "pull"
    summary: ClassVar[str] = "one step of steepest descent"
    on_estimate: ClassVar[bool] = True

    pull_length: Annotated[float, Positive] = 0.01
    """Length of the step, times the gradient."""

    def step(self, problem):
        return PullStep(problem, self.pull_length)
'''
VOLUME = small_volume((4, 16, 16))


@pytest.fixture
def landweber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    at = (tmp_path / "site", monkeypatch, "diffusionblend.methods")
    with installed(*at, "landweber", "lessons:Landweber", METHOD):
        yield


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    at = (tmp_path / "site", monkeypatch, "diffusionblend.consistency_steps")
    with installed(*at, "pull", "pulling:Pull", STEP):
        yield


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    write_projections(scan(VOLUME), path)
    return path


def by_hand(iterations: int, length: float) -> np.ndarray:
    """HU after some steps, in numpy's hands but for the operator."""
    problem = Problem.of(scan(VOLUME))
    x = problem.empty_volume()
    for _ in range(iterations):
        x = x - length * problem.operator.adjoint(problem.operator.forward(x) - problem.y)
    return 1000 * x.numpy()


@pytest.mark.usefixtures("landweber")
def test_a_method_of_another_package_stands_among_the_others() -> None:
    assert METHODS.names()[-1] == "landweber" and METHODS.package_of("landweber") == "lessons"
    method = make_method("landweber", iterations=3)
    assert method.settings() == {"iterations": 3, "step_length": 0.002}
    found = reconstruct(scan(VOLUME), "landweber", iterations=3, step_length=0.003)
    np.testing.assert_allclose(found.volume.values, by_hand(3, 0.003), atol=0.1)
    with pytest.raises(InputError, match="iterations is 0"):
        make_method("landweber", iterations=0)
    with pytest.raises(InputError, match=r"(?s)landweber has no setting 'iteration'.*iterations"):
        make_method("landweber", iteration=3)


def test_it_is_gone_with_its_package() -> None:
    assert "landweber" not in METHODS
    with pytest.raises(InputError, match="no method 'landweber'"):
        make_method("landweber")


@pytest.mark.usefixtures("landweber")
def test_the_command_line_has_its_line_its_options_and_its_record(cli, scan_file, tmp_path) -> None:
    assert "steepest descent, steps of one length" in cli("methods").out
    assert "step-length" in cli("methods", "landweber").out.replace("_", "-")
    page = cli("reconstruct", "--method", "landweber", "--help-all").out
    assert "--step-length" in page and "--cg-iterations" not in page
    output = tmp_path / "volume.nii.gz"
    given = ("--method", "landweber", "--iterations", 3, "--device", "cpu")
    result = cli("reconstruct", scan_file, "-o", output, *given)
    assert result.code == 0, result.err
    np.testing.assert_allclose(read_volume(output).values, by_hand(3, 0.002), atol=1)
    record = json.loads((tmp_path / "volume.nii.gz.run.json").read_text())
    assert "landweber" in json.dumps(record["settings"])
    assert '"step_length": 0.002' in json.dumps(record)
    refused = cli("reconstruct", scan_file, "-o", tmp_path / "b.nii.gz", *given, "--window", "hann")
    assert refused.code == 2
    assert "step_length" in cli("settings", "landweber").out


@pytest.mark.usefixtures("landweber")
def test_the_benchmark_compares_it(cli, tmp_path) -> None:
    write_volume(VOLUME, tmp_path / "chest.nii.gz")
    result = cli(
        *("benchmark", tmp_path / "chest.nii.gz", "-o", tmp_path / "table", "--views", 6),
        *("--methods", "fbp", "landweber", "--device", "cpu"),
    )
    assert result.code == 0, result.err
    rows = [json.loads(r) for r in (tmp_path / "table" / "rows.jsonl").read_text().splitlines()]
    assert {"fbp", "landweber"} == {row["method"] for row in rows}
    assert "landweber" in (tmp_path / "table" / "table.md").read_text()


@pytest.mark.usefixtures("landweber")
def test_the_reference_page_has_it(monkeypatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "docs")
    pytest.importorskip("mkdocs")
    import site_pages

    assert "--step-length" in site_pages.command_line_page()


@pytest.mark.usefixtures("pull")
def test_a_consistency_step_of_another_package_is_taken_by_name() -> None:
    assert CONSISTENCY_STEPS.names()[-1] == "pull"
    projections, prior = scan(VOLUME), random_prior(config=replace(TINY, prior_type="slices"))
    given = {"steps": 3, "prior": prior, "device": "cpu"}
    free = reconstruct(projections, "dds", consistency="none", **given)
    weak, strong = (
        reconstruct(projections, "dds", consistency="pull", pull_length=length, **given)
        for length in (0.001, 0.01)
    )
    residuals = [r.relative_residual for r in (free, weak, strong)]
    assert residuals == sorted(residuals, reverse=True) and residuals[2] < 0.6 * residuals[0]
    kept = make_method("dds", consistency="pull", dual_damping=0.5)
    assert kept.settings()["consistency"] == "pull" and kept.settings()["pull_length"] == 0.01
    with pytest.raises(InputError, match="'pull' has no setting 'cg_iterations'"):
        make_method("dds", consistency="pull", cg_iterations=3)
    with pytest.raises(InputError, match="one that moves an estimate"):
        make_method("diffusion-mbir", consistency="pull")
    assert make_method("dds", consistency=Cg()).consistency == Cg()


@pytest.mark.usefixtures("pull")
def test_the_command_line_has_its_options(cli, scan_file, tmp_path, tiny_prior) -> None:
    page = cli("reconstruct", "--consistency", "pull", "--help-all").out
    assert "--pull-length" in page and "--cg-iterations" not in page
    output = tmp_path / "volume.nii.gz"
    given = ("--consistency", "pull", "--pull-length", 0.02, "--steps", 2, "--prior", tiny_prior)
    result = cli("reconstruct", scan_file, "-o", output, *given, "--device", "cpu")
    assert result.code == 0, result.err
    record = (tmp_path / "volume.nii.gz.run.json").read_text()
    assert '"pull_length": 0.02' in record and '"consistency": "pull"' in record


@pytest.fixture(params=["diffusionblend.methods", "diffusionblend.consistency_steps"])
def ruin(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that cannot be imported, with a method or a data-consistency step."""
    at = (tmp_path / "site", monkeypatch, request.param)
    with installed(*at, "fallen", "ruin:Fallen", "import no_such_module_at_all"):
        yield request.param


@pytest.mark.filterwarnings("default:.*of the package ruin")
def test_a_broken_package_stops_none_of_the_others(cli, ruin, tmp_path) -> None:
    listed = cli("methods")
    assert listed.code == 0 and "diffusionblend++" in listed.out
    typo = cli("reconstruct", "scan.h5", "-o", tmp_path / "a.nii.gz", "--stpes", 5)
    assert typo.code == 2 and "did you mean --steps?" in typo.err
    script = cli("--completion", "bash")
    assert script.code == 0 and "--consistency" in script.out
    assert cli("settings", "dds").code == 0
    assert cli("reconstruct", "--method", "dds", "--help").code == 0
    broken = listed if ruin.endswith("methods") else script
    notes = [line for line in broken.err.splitlines() if "of the package ruin" in line]
    assert len(notes) == 1 and notes[0].endswith("It is left out.")
    if ruin.endswith("methods"):
        asked = cli("reconstruct", "scan.h5", "-o", tmp_path / "a.nii.gz", "--method", "fallen")
    else:
        asked = cli("settings", "dds", "--consistency", "fallen")
    assert asked.code == 2 and "cannot be imported" in asked.err
