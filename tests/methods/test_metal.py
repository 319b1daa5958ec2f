"""Metal: which rays pass it, what stands in for them, and that no method reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analytic import Ellipse
from diffusionblend import reconstruct
from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, Grid, Helix, ParallelBeam
from diffusionblend.io.projections import read_projections, write_projections
from diffusionblend.methods import METHODS, DiffusionBlendPP
from diffusionblend.methods.metal import interpolated, without_metal
from diffusionblend.methods.problem import Problem
from diffusionblend.operators import MaskedTransform, XRayTransform
from diffusionblend.simulation import simulate
from operator_properties import check_operator, random_array
from tiny_network import TINY, random_prior

MU_WATER = 0.02
GRID = Grid(shape=(3, 32, 32), spacing_mm=(2.0, 1.5, 1.5))
BODY = Ellipse(x_mm=0, y_mm=1, a_mm=19, b_mm=15)
ROD = Ellipse(x_mm=6, y_mm=-4, a_mm=2.5, b_mm=2.5)


def volume_in_hu(metal_hu: float | None) -> Volume:
    """A body of soft tissue with a rod through the slices 1 and 2."""
    values = np.full(GRID.shape, -1000.0)
    values += 1050 * BODY.picture(GRID.shape[1:], GRID.spacing_mm[1:]) / BODY.value
    if metal_hu is not None:
        rod = ROD.picture(GRID.shape[1:], GRID.spacing_mm[1:]) / ROD.value
        values[1:] = values[1:] * (1 - rod) + metal_hu * rod
    return Volume(values, GRID)


def scan_of(kind: str = "parallel", views: int = 60, metal_hu: float = 9000.0) -> Projections:
    """A scan whose rays through the rod are wrong, as by beam hardening."""
    distances = {"source_to_axis_mm": 120.0, "source_to_detector_mm": 180.0}
    geometry = {
        "parallel": lambda: ParallelBeam.fitting(GRID, views),
        "fan": lambda: FanBeam.fitting(GRID, views, **distances),
        "helix": lambda: Helix.fitting(GRID, views, n_rows=4, **distances),
    }[kind]()
    with_rod, without = (
        simulate(volume_in_hu(hu), geometry, mu_water_per_mm=MU_WATER) for hu in (metal_hu, 50.0)
    )
    of_rod = with_rod.values - without.values
    return replace(with_rod, values=without.values + of_rod / (1 + 0.5 * of_rod))


def outside(volume: Volume) -> float:
    """Root mean square error in HU in the body, three pixels and more from the rod."""
    y, x = ((np.arange(32) - 15.5) * 1.5 - c for c in (ROD.y_mm, ROD.x_mm))
    far = (np.hypot(y[:, None], x) > 7) & (BODY.picture((32, 32), (1.5, 1.5)) == BODY.value)
    return float(np.sqrt(np.mean((volume.values - volume_in_hu(50.0).values)[:, far] ** 2)))


def test_the_masked_transform_is_linear_with_its_adjoint():
    operator = XRayTransform(ParallelBeam.fitting(GRID, 5), GRID)
    mask = torch.rand(operator.range_shape, generator=torch.Generator().manual_seed(0)) > 0.3
    masked = MaskedTransform(operator, mask)
    check_operator(masked)
    x = random_array(GRID.shape, 1)
    torch.testing.assert_close(masked @ x, mask * (operator @ x))
    with pytest.raises(InputError, match="whole volume"):
        masked.with_slices(2)
    with pytest.raises(InputError, match="rays that count have shape"):
        MaskedTransform(operator, mask[:, :1])


@pytest.mark.parametrize("kind", ["parallel", "fan", "helix"])
def test_the_rays_through_metal_are_found(kind):
    scan = scan_of(kind, 30)
    found = without_metal(scan, grow_columns=0)
    rod = np.zeros(GRID.shape, np.float32)
    rod[1:] = ROD.picture((32, 32), (1.5, 1.5)) == ROD.value
    through = (XRayTransform(scan.geometry, GRID) @ rod) > 0.3
    left_out = ~found.scan.measured
    assert (left_out & through).sum() > 0.99 * through.sum()
    assert left_out.sum() < 3.0 * through.sum()
    assert found.share == pytest.approx(left_out.mean())
    assert found.metal[0].sum() <= found.metal[1].sum()
    grown = without_metal(scan, grow_columns=2, first="cgls").scan
    assert (~grown.measured).sum() > left_out.sum()


def test_values_are_interpolated_along_the_columns_alone():
    values = np.arange(24, dtype=np.float32).reshape(2, 2, 6) ** 2
    measured = np.ones(values.shape, bool)
    measured[0, 1, 2:4] = measured[1, 0, :2] = measured[1, 1] = False
    filled = interpolated(values, measured)
    np.testing.assert_allclose(filled[0, 1], [36, 49, 66, 83, 100, 121])
    np.testing.assert_array_equal(filled[1, 0], [196, 196, 196, 225, 256, 289])
    np.testing.assert_array_equal(filled[1, 1], values[1, 1])
    np.testing.assert_array_equal(filled[0, 0], values[0, 0])


@pytest.mark.parametrize("kind", ["parallel", "helix"])
def test_streaks_of_metal_are_gone_outside_of_it(kind):
    """Left out, the rays do no harm; interpolated they do some; measured they do most."""
    scan = scan_of(kind)
    found = without_metal(scan)
    filled = replace(found.scan, measured=None)
    settings = {"iterations": 40, "weight": 0.1}
    raw, interpolation, masked = (
        outside(reconstruct(one, "admm-tv", **settings).volume)
        for one in (scan, filled, found.scan)
    )
    assert masked < 0.6 * interpolation and masked < 0.4 * raw
    if kind == "helix":
        return  # its FBP blurs such coarse pixels more than the metal harms them
    fbp = [outside(reconstruct(one, "fbp").volume) for one in (scan, found.scan, filled)]
    assert fbp[1] < 0.8 * fbp[0] and fbp[1] == fbp[2]


@pytest.mark.parametrize("method", ["cgls", "sirt", "admm-tv", "diffusionblend++", "dds"])
def test_no_method_reads_the_rays_that_do_not_count(method):
    marked = without_metal(scan_of(views=12)).scan
    rubbish = replace(marked, values=np.where(marked.measured, marked.values, 7.0))
    given = (
        {"iterations": 5}
        if method in ("cgls", "sirt", "admm-tv")
        else {"steps": 2, "consistency": "cg", "init": "noise"}
    )
    options = {} if "iterations" in given else {"prior": random_prior()}
    if method == "dds":
        kind = METHODS.get("dds").prior.prior_type
        options = {"prior": random_prior(config=replace(TINY, prior_type=kind))}
    one, other = (reconstruct(s, method, **given, **options) for s in (marked, rubbish))
    np.testing.assert_allclose(one.volume.values, other.volume.values, atol=0.02)
    assert one.relative_residual == pytest.approx(other.relative_residual, rel=1e-4)


@pytest.mark.parametrize("consistency", ["cg", "prox", "hard", "admm-tv-z"])
def test_data_steps_fit_the_rays_that_count(consistency):
    marked = without_metal(scan_of(views=12)).scan
    method = DiffusionBlendPP(steps=3, seed=1)
    fitted, unmoved = (
        reconstruct(marked, method, prior=random_prior(), consistency=step)
        for step in (consistency, "none")
    )
    assert fitted.relative_residual < 0.5 * unmoved.relative_residual


def test_files_views_and_problems_keep_which_rays_count(tmp_path):
    marked = without_metal(scan_of(views=12)).scan
    write_projections(marked, tmp_path / "scan.h5")
    read = read_projections(tmp_path / "scan.h5")
    np.testing.assert_array_equal(read.measured, marked.measured)
    np.testing.assert_array_equal(read[3:5].measured, marked.measured[3:5])
    problem = Problem.of(read)
    assert not problem.y[torch.from_numpy(~read.measured)].any()
    assert replace(read, measured=np.ones(read.shape)).measured is None
    for wrong in (np.ones((2, 2, 2)), np.zeros(read.shape)):
        with pytest.raises(InputError, match="rays that count"):
            replace(read, measured=wrong)


def test_no_metal_too_much_and_nonsense_are_refused():
    scan = scan_of(views=12)
    with pytest.raises(InputError, match="No voxel of a first reconstruction") as raised:
        without_metal(scan, threshold_hu=60_000)
    assert "threshold" in raised.value.try_
    with pytest.raises(InputError, match="% of the rays pass"):
        without_metal(scan, threshold_hu=-500)
    with pytest.raises(InputError, match="whole number of columns"):
        without_metal(scan, grow_columns=-1)
