"""The Triton kernels against those of the CPU: on a GPU if there is one, else interpreted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    VectorGeometry,
    equally_spaced_angles,
)
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import LinearOperator, XRayTransform
from operator_properties import check_adjoint, check_linearity, random_array, transform_of

pytest.importorskip("triton", reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROOM = "diffusionblend.operators"


@pytest.fixture(scope="module")
def kernels():
    """The module; the suite's configuration has it interpreted where there is no GPU."""
    from diffusionblend.operators.kernels import cuda as kernels_cuda

    return kernels_cuda


@pytest.fixture
def by_triton(kernels, monkeypatch):
    """Has the operators compute by these kernels, whatever the device."""
    for module in ("panels", "slicewise"):
        monkeypatch.setattr(f"{ROOM}.{module}.gpu_kernels", lambda data: kernels)


def cone(n_views: int = 3, **options) -> ConeBeam:
    shape = {"n_rows": 4, "row_mm": 2.1, "n_columns": 7, "column_mm": 1.9} | options
    angles = equally_spaced_angles(n_views, 360)
    return ConeBeam(angles_rad=angles, source_to_axis_mm=40, source_to_detector_mm=60, **shape)


def from_above() -> VectorGeometry:
    """Two views whose rays advance along z, one of them tilted."""
    return VectorGeometry(
        sources_mm=[(1, 2, 40), (9, -3, -50)],
        detectors_mm=[(0, 0, -20), (0, 0, 30)],
        column_steps_mm=[(1.5, 0, 0), (1.2, 0.4, 0)],
        row_steps_mm=[(0, 1.6, 0), (0, 1.4, 0.2)],
        n_rows=4,
        n_columns=5,
    )


COUPLED = {
    "cone": cone(axis_shift_mm=1.2, detector_lift_mm=-1.0),
    "from above": from_above(),
    "parallel": ParallelBeam(
        angles_rad=(0.0, 0.7, 2.2), n_columns=8, column_mm=0.9, detector_shift_mm=0.4
    ).to_vectors(4, 1.3),
    "one column": cone(1, n_rows=1, n_columns=1),
}
SLICEWISE = {
    "parallel": ParallelBeam(angles_rad=(0.0, 0.7, 2.2), n_columns=11, column_mm=0.9),
    "flat": FanBeam(
        angles_rad=(0.3, 2.0, 4.4),
        n_columns=9,
        column_mm=1.8,
        source_to_axis_mm=30,
        source_to_detector_mm=50,
        axis_shift_mm=0.8,
    ),
    "curved": FanBeam(
        angles_rad=(1.3,),
        n_columns=9,
        column_mm=1.8,
        source_to_axis_mm=30,
        source_to_detector_mm=50,
        curved=True,
    ),
}
GRID = Grid(shape=(3, 6, 5), spacing_mm=(1.4, 0.9, 1.1))


def coupled(kind: str, dtype: torch.dtype = torch.float32) -> XRayTransform:
    return transform_of(COUPLED[kind], GRID, scale=0.7, dtype=dtype)


def slicewise(kind: str, storage: str = "rays", dtype: torch.dtype = torch.float32):
    geometry = SLICEWISE[kind]
    return transform_of(geometry, GRID, scale=0.7, storage=storage, dtype=dtype)


def both_ways(operator: LinearOperator, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A x and A* y of random float64 data, computed on the device."""
    x, y = (
        random_array(shape, i, torch.float64, device)
        for i, shape in enumerate((operator.domain_shape, operator.range_shape))
    )
    there = operator.to(device)
    return there.forward(x).cpu(), there.adjoint(y).cpu()


def assert_same(ours, theirs) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert other.any()
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", COUPLED)
def test_coupled_rays_weigh_as_on_the_cpu(kind, kernels, monkeypatch):
    operator = coupled(kind, torch.float64)
    expected = both_ways(operator, "cpu")
    monkeypatch.setattr(f"{ROOM}.panels.gpu_kernels", lambda data: kernels)
    assert_same(both_ways(operator, DEVICE), expected)


@pytest.mark.parametrize("kind", SLICEWISE)
def test_slicewise_rays_weigh_as_on_the_cpu_and_in_the_matrix(kind, kernels, monkeypatch):
    operator = slicewise(kind, dtype=torch.float64)
    expected = both_ways(operator, "cpu")
    monkeypatch.setattr(f"{ROOM}.slicewise.gpu_kernels", lambda data: kernels)
    found = both_ways(operator, DEVICE)
    assert_same(found, expected)
    assert_same(found, both_ways(slicewise(kind, "matrix", torch.float64), "cpu"))


@pytest.mark.parametrize("operator", [coupled("cone"), slicewise("flat")], ids=["cone", "fan"])
def test_properties(operator, by_triton):
    """Those of the kernels; the rest of an operator is the same on every device."""
    check_linearity(operator.to(DEVICE), device=DEVICE)
    check_adjoint(operator.to(DEVICE), device=DEVICE)


def test_gradients_of_first_and_second_order(kernels, monkeypatch):
    operator = coupled("one column", torch.float64)
    x = random_array(GRID.shape, 0, torch.float64)
    expected = operator.normal(x), operator.normal(operator.normal(x))
    monkeypatch.setattr(f"{ROOM}.panels.gpu_kernels", lambda data: kernels)
    x = x.to(DEVICE).requires_grad_()
    half = operator.to(DEVICE).forward(x).square().sum() / 2
    (first,) = torch.autograd.grad(half, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() / 2, x)
    assert_same((first.detach().cpu(), second.cpu()), expected)


def test_many_slices_take_several_programs(by_triton):
    operator = slicewise("curved").to(DEVICE).with_slices(70)
    x = random_array((70, 6, 5), 0, device=DEVICE)
    lines = operator.forward(x)
    back = operator.adjoint(lines)
    single = slicewise("curved").to(DEVICE).with_slices(1)
    for i in (0, 63, 64, 69):
        torch.testing.assert_close(lines[:, i : i + 1], single.forward(x[i : i + 1]))
        torch.testing.assert_close(back[i : i + 1], single.adjoint(lines[:, i : i + 1]))


def test_data_on_the_cpu_stay_there():
    from diffusionblend.operators.kernels.devices import gpu_kernels

    assert gpu_kernels(torch.zeros(1)) is None


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from diffusionblend.operators.kernels import cuda as kernels

volume = dict(lines="*fp32", volume="*fp32", views="*fp64", lengths="*fp64")
volume |= dict.fromkeys(("n_rays", "n_rows", "n_columns", "n_z", "n_y", "n_x"), "i32")
slices = dict(table="*fp64", pixels="*fp32", lines="*fp32")
slices |= dict.fromkeys(("n_rays", "n_slices", "n_y", "n_x"), "i32")
for kernel, signature, fixed in (
    (kernels._project_volume, volume, {"PARALLEL": False, "RAYS": 128}),
    (kernels._back_project_volume, volume, {"PARALLEL": True, "RAYS": 128}),
    (kernels._project_slices, slices, {"RAYS": 8, "SLICES": 64}),
    (kernels._back_project_slices, slices, {"RAYS": 8, "SLICES": 64}),
):
    signature = signature | dict.fromkeys(fixed, "constexpr")
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=kernels.OPTIONS)
    assert len(made.asm["cubin"]) > 1000
    print(kernel.__name__)
"""


def test_they_compile_for_a_card(tmp_path):
    """To machine code of an Ampere card, without having one."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4
