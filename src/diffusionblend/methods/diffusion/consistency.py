"""Data consistency steps without regularisation, usable by any diffusion method."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.problem import Measurement
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from diffusionblend.solvers.noisy_data import fit_data
from diffusionblend.solvers.proximal import ExactProximal, is_exact_for

HARD_CG_ITERATIONS = 30
"""Of the hard step, where there are too many rays for its exact solution."""


class Consistency:
    """Moves a sampler's volumes towards the data, at up to three places; this one nowhere.

    On the prior's estimate x0 (the call itself), on the renoised state (`on_state`), or along the
    gradient of `misfit` through the network (`moved`). couples_slices, couples_state: whether a
    slice's result depends on others; then that step is given whole volumes. moves_state,
    needs_gradient: whether the second and the third place are used.
    """

    couples_slices = False
    couples_state = False
    moves_state = False
    needs_gradient = False

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x), network range, of the given slices, made consistent."""
        return x0

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        """The renoised state (z, y, x) of noise level abar, moved; noise: white, like x, fresh."""
        return x

    def misfit(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """|y - A x0|^2 of each of the given slices (z,), differentiable."""
        raise NotImplementedError(f"{type(self).__name__} has no misfit")

    def moved(self, x: torch.Tensor, gradient: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        """The state moved along the gradient of half the misfit; misfit: of all slices, a sum."""
        return x

    def variables(self) -> dict[str, torch.Tensor]:
        """What is kept from step to step, for a run to be resumed."""
        return {}

    def restore(self, variables: dict[str, torch.Tensor]) -> None:
        """Go on from kept variables, or begin anew from none."""


class Unconditional(Consistency):
    """No data at all: samples are of the prior alone."""


@dataclass(frozen=True)
class ConjugateGradientStep(Consistency):
    """`iterations` steps of CG on (A*WA + rho I) z = A*Wy + rho x0, started at x0.

    Each slice is a system of its own, unless the geometry couples them. The paper's is 5 steps with
    rho 0 and W = I. weighted: W from the photon counts. to_noise: stop where the misfit has come
    down to the noise. Both want a measurement with its noise.
    """

    measurement: Measurement
    iterations: int
    rho: float
    weighted: bool = False
    to_noise: bool = False

    @property
    def couples_slices(self) -> bool:
        """Whether the geometry does."""
        return self.measurement.operator.couples_slices

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x) of the given slices after the steps."""
        part = self.measurement.of_slices(slices)
        return fit_data(
            part.operator,
            part.y,
            x0,
            self.iterations,
            rho=self.rho,
            per_slice=not self.couples_slices,
            weights=part.weights if self.weighted else None,
            variance=part.variance if self.to_noise else None,
        )


class ProximalStep(Consistency):
    """The exact minimiser of |Az - y|^2 + rho |z - x0|^2, with rho > 0."""

    def __init__(self, measurement: Measurement, rho: float) -> None:
        self.measurement, self.rho = measurement, rho
        self.proximal = ExactProximal(measurement.operator)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The proximal point of the given slices' estimate (z, y, x)."""
        return self.proximal(x0, self.measurement.of_slices(slices).y, self.rho)


class HardStep(Consistency):
    """The renoised state x' projected onto data noised alike (Song et al., ICLR 2022).

    argmin over z of weight |x' - z|^2 + (1 - weight) |y_t' - A z|^2, with
    y_t' = sqrt(abar') y + sqrt(1 - abar') A n and n white noise of its own: with that of x' itself
    it would be the proximal step on x0. weight: 0 to 1, both left out. Solved exactly, or by CG
    where the exact proximal step cannot be had.
    """

    moves_state = True

    def __init__(self, measurement: Measurement, weight: float) -> None:
        self.measurement, self.rho = measurement, weight / (1 - weight)
        self.couples_state = measurement.operator.couples_slices
        exact = is_exact_for(measurement.operator)
        self.proximal = ExactProximal(measurement.operator) if exact else None

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        """The projected state (z, y, x) of the given slices."""
        part = self.measurement.of_slices(slices)
        y_t = abar**0.5 * part.y + (1 - abar) ** 0.5 * part.operator.forward(noise)
        if self.proximal is not None:
            return self.proximal(x, y_t, self.rho)
        return conjugate_gradient(
            lambda z: part.operator.normal(z) + self.rho * z,
            part.operator.adjoint(y_t) + self.rho * x,
            x,
            HARD_CG_ITERATIONS,
            per_slice=not self.couples_state,
        )


@dataclass(frozen=True)
class GradientStep(Consistency):
    """The state moved along the gradient of |y - A x0(x_t)| (Chung et al. 2023, DPS, Alg. 1).

    x' - step grad |r|, where grad |r| = grad (|r|^2 / 2) / |r| with the norm of the whole volume's
    residual r. Raises InputError for a geometry that couples slices.
    """

    measurement: Measurement
    step: float
    needs_gradient = True

    def __post_init__(self) -> None:
        if self.measurement.operator.couples_slices:
            raise InputError(
                "The data step 'dps' was asked for a geometry that couples slices.",
                "slices that are independent",
                "--consistency cg",
            )

    def misfit(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """|y - A x0|^2 of each of the given slices (z,)."""
        part = self.measurement.of_slices(slices)
        return (part.operator.forward(x0) - part.y).square().sum((0, 2))

    def moved(self, x: torch.Tensor, gradient: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        """x - step gradient / sqrt(misfit), for the gradient of half the misfit."""
        norm = misfit.clamp(min=torch.finfo(misfit.dtype).tiny).sqrt()
        return x - self.step * gradient / norm


@dataclass(frozen=True)
class OnScaledState(Consistency):
    """A step for estimates, taken on the noisy state instead, as x / sqrt(abar).

    That is the state of the variance-exploding process that goes with ours, for which
    DiffusionMBIR was published; the data stay without noise, as there.
    """

    step: Consistency
    moves_state = True

    @property
    def couples_state(self) -> bool:
        """Whether the step couples slices."""
        return self.step.couples_slices

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        """The step's result for x / sqrt(abar), scaled back."""
        return abar**0.5 * self.step(x / abar**0.5, slices)

    def variables(self) -> dict[str, torch.Tensor]:
        """Those of the step."""
        return self.step.variables()

    def restore(self, variables: dict[str, torch.Tensor]) -> None:
        """Hand them to the step."""
        self.step.restore(variables)
