"""deepinv's own checks and algorithms on the X-ray transform and a prior."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend import reconstruct
from diffusionblend.adapters.deepinv import normalised_data, to_denoiser, to_physics
from diffusionblend.errors import InputError
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.diffusion.consistency.prox import Prox
from diffusionblend.methods.diffusion.diffusionblend_pp import DiffusionBlendPP
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.methods.noise_levels import denoised_volume, timestep_of
from diffusionblend.operators import XRayTransform
from diffusionblend.phantom import synthetic_chest
from diffusionblend.priors.partition import make_partition
from diffusionblend.priors.prior import load_prior
from diffusionblend.simulation import simulate
from diffusionblend.solvers.proximal import proximal_of
from diffusionblend.units import hu_to_network
from peers import peer
from small_scan import scan, small_volume
from tiny_network import random_prior

GRID = Grid(shape=(4, 16, 16), spacing_mm=(2.0, 1.5, 1.5))


@pytest.fixture
def deepinv():
    return peer("deepinv")


def test_its_adjointness_test_passes(deepinv):
    operator = XRayTransform(ParallelBeam.fitting(GRID, 7), GRID, dtype=torch.float64)
    physics = to_physics(operator)
    u = torch.rand(2, 1, *GRID.shape, dtype=torch.float64)
    assert abs(float(physics.adjointness_test(u))) < 1e-9 * float(physics.A(u).square().sum())
    assert physics.A(u).shape == (2, 1, *operator.range_shape)
    back = physics.A_dagger(physics.A(u))
    assert float((physics.A(back) - physics.A(u)).norm() / physics.A(u).norm()) < 1e-2
    with pytest.raises(InputError, match="batch, 1"):
        physics.A(u[0])


def test_data_of_a_scan_are_those_of_images_from_0_to_1():
    volume = small_volume((4, 16, 16))
    operator, y = normalised_data(scan(volume, 6))
    image = (hu_to_network(torch.from_numpy(volume.values)) + 1) / 2
    expected = operator.forward(image)
    np.testing.assert_allclose(y[0, 0].numpy(), expected.numpy(), atol=1e-3 * float(y.abs().max()))


def test_the_denoiser_is_the_priors_own(deepinv):
    prior = random_prior()
    denoiser = to_denoiser(prior, GRID, seed=3)
    assert isinstance(denoiser, deepinv.models.Denoiser)
    x = torch.rand(1, 1, *GRID.shape, generator=torch.Generator().manual_seed(1))
    got = denoiser(x, 0.1)
    assert got.shape == x.shape
    t = timestep_of(prior, 0.2)
    abar = float(prior.schedule.alpha_bar[t])
    candidates = []
    for offset in (0, 1):  # which blocks were drawn
        blocks = make_partition(4, 3, 1, offset)
        x_t = abar**0.5 * (2 * x[0, 0] - 1)
        clean = blocks.scatter(prior.denoise(blocks.gather(x_t), t, 1.0)[0], 4)
        candidates.append((clean + 1) / 2)
    assert any(torch.allclose(got[0, 0], c, atol=1e-5) for c in candidates)


def test_diffpir_and_pnp_run_on_operator_and_prior(deepinv):
    volume = small_volume((4, 16, 16))
    operator, y = normalised_data(scan(volume, 6))
    physics, denoiser = to_physics(operator), to_denoiser(random_prior(), volume.grid)
    with torch.no_grad():
        sampler = deepinv.sampling.DiffPIR(
            denoiser, deepinv.optim.L2(), sigma=0.01, max_iter=3, device="cpu"
        )
        sampled = sampler(y, physics)
        prox = deepinv.optim.PnP(denoiser).prox(sampled, 0.05)
    assert sampled.shape == prox.shape == (1, 1, *volume.shape)
    assert torch.isfinite(sampled).all() and torch.isfinite(prox).all()


@pytest.fixture(scope="module")
def chest_scan():
    """A chest of three slices, seen in 20 views without noise, and the shipped prior."""
    chest = synthetic_chest(1, shape=(3, 64, 64))
    scan = simulate(chest, ParallelBeam.fitting(chest.grid, 20))
    return chest, scan, load_prior("chest", "cpu", precision="float32")


def psnr_db(image: torch.Tensor, chest) -> float:
    """Of an image from 0 to 1, of all HU from -1000 to 1000."""
    truth = (hu_to_network(torch.from_numpy(chest.values)) + 1) / 2
    return -10 * math.log10(float((image - truth).square().mean()))


def test_diffpir_is_as_good_as_our_sampler_of_the_same_steps(deepinv, chest_scan):
    """All noise is drawn anew in both, so that they differ by draws and by how the data are met."""
    (chest, scan, prior), steps, rho, seeds = chest_scan, 10, 0.3, (1, 2)
    operator, y = normalised_data(scan)
    method = DiffusionBlendPP(
        steps=steps,
        init="noise",
        consistency=Prox(rho=rho),
        noise_fraction=1.0,
        dual_damping=0.0,
        tail_average_below=0,
    )
    ours, theirs = [], []
    for seed in seeds:
        found = reconstruct(scan, method=replace(method, seed=seed), prior=prior, device="cpu")
        ours.append(psnr_db((hu_to_network(torch.from_numpy(found.volume.values)) + 1) / 2, chest))
        sampler = deepinv.sampling.DiffPIR(
            to_denoiser(prior, chest.grid, seed=seed),
            deepinv.optim.L2(),
            max_iter=steps + 1,
            zeta=1.0,
        )
        sampler.seq = torch.tensor([999 - t for t in sampling_timesteps(steps, 1000)] + [999])
        sampler.rhos[:] = rho / 2  # it takes the proximal point of 1 / (2 rho) times |Ax - y|^2 / 2
        grey = torch.full((1, 1, *chest.shape), 0.5)
        physics = to_physics(operator, tol=1e-5, max_iter=100)  # its defaults stop far from it
        theirs.append(psnr_db(sampler(y, physics, seed=seed, x_init=grey)[0, 0], chest))
    assert np.mean(ours) > 28  # both solve the task
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.3


def test_plug_and_play_is_that_by_our_own_proximal_point(deepinv, chest_scan):
    """Half-quadratic splitting, the noise falling: the same splitting written with our pieces."""
    chest, scan, prior = chest_scan
    sigmas, rho = [0.5, 0.2, 0.1, 0.05], 0.3
    operator, y = normalised_data(scan)
    grey = torch.full(chest.shape, 0.5)
    denoise = to_denoiser(prior, chest.grid, seed=1)
    image, proximal = grey, proximal_of(operator)
    with torch.no_grad():
        for sigma in sigmas:
            image = denoise(proximal(image, y[0, 0], rho)[None, None], sigma)[0, 0]
        splitting = deepinv.optim.HQS(
            data_fidelity=deepinv.optim.L2(),
            prior=deepinv.optim.PnP(to_denoiser(prior, chest.grid, seed=1)),
            stepsize=1 / rho,
            sigma_denoiser=sigmas,
            max_iter=len(sigmas),
        )
        physics = to_physics(operator, tol=1e-5, max_iter=100)
        theirs = splitting(y, physics, init=grey[None, None])[0, 0]
    assert psnr_db(theirs, chest) > 30
    assert abs(psnr_db(theirs, chest) - psnr_db(image, chest)) < 0.1
    assert float((theirs - image).square().mean().sqrt()) < 0.1 * float(
        (grey - image).square().mean().sqrt()
    )


def test_noise_of_a_timestep_finds_that_timestep():
    prior = random_prior()
    for t in (0, 10, 300, 999):
        abar = float(prior.schedule.alpha_bar[t])
        assert timestep_of(prior, ((1 - abar) / abar) ** 0.5) == t
    for sigma in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="noise level"):
            timestep_of(prior, sigma)


def test_a_code_in_mm_gets_the_distance_of_slices(monkeypatch):
    prior, codes = random_prior(), []
    prior.code_unit = "mm"
    monkeypatch.setattr(prior, "denoise", lambda x, t, code: (codes.append(code), (x, x))[1])
    denoised_volume(prior, torch.zeros(4, 16, 16), 0.1, make_partition(4, 3, 1, 0), slice_mm=2.5)
    assert set(codes) == {2.5}


def test_other_priors_are_refused(deepinv):
    from tiny_network import TINY

    with pytest.raises(InputError, match="slices"):
        to_denoiser(random_prior(config=replace(TINY, prior_type="slices")), GRID)
    with pytest.raises(InputError, match="16 x 16"):
        to_denoiser(random_prior(), Grid(shape=(4, 12, 12), spacing_mm=(1, 1, 1)))
