"""The optimiser of a run: AdamW, or Muon on the convolutions with AdamW on the rest."""

from __future__ import annotations

from typing import Any

import torch

from diffusionblend.training.settings import TrainSettings

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration X <- a X + b (X X^T) X + c (X X^T)^2 X."""
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
ADAMW_UPDATE = 0.2
"""Root mean square of an update of AdamW, which those of Muon are scaled to (Liu et al. 2025)."""
ADAMW_BETAS_BESIDE_MUON = (0.9, 0.99)
LEAST_CHANNELS = 24
"""Of a convolution's input and output, for Muon; a narrow one leaves it too few directions."""


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are brought near to orthogonal matrices (Jordan et al. 2024).

    A convolution's weights (out, in, height, width) are a matrix (out, rest). Weight decay is
    decoupled, as in AdamW.
    """

    def __init__(self, weights: list[torch.nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step, with Nesterov's momentum."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group["lr"], group["weight_decay"])

    def _move(
        self, weight: torch.Tensor, gradient: torch.Tensor, lr: float, weight_decay: float
    ) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        step = torch.lerp(gradient, momentum, MOMENTUM)
        matrix = step.contiguous(memory_format=torch.contiguous_format).flatten(1)
        scale = ADAMW_UPDATE * max(matrix.shape) ** 0.5
        moved = orthogonalised(matrix).reshape(weight.shape)
        weight.mul_(1 - lr * weight_decay).add_(moved, alpha=-lr * scale)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix (m, n) with its singular values brought near 1, by the Newton-Schulz iteration.

    Since X_k = Q_k X_0, with Q_k a polynomial of X_0 X_0^T, it runs on that matrix of the shorter
    side alone: a third of the products.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    total = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    for _ in range(NEWTON_SCHULZ_STEPS):
        factor = torch.addmm(b * gram, gram, gram, alpha=c)
        factor.diagonal().add_(a)
        total, gram = factor @ total, factor @ gram @ factor
    x = total @ x
    return x.T if tall else x


class MuonWithAdamW:
    """Both optimisers as one: Muon has the wide convolutions, AdamW all other weights."""

    def __init__(self, network: torch.nn.Module, settings: TrainSettings) -> None:
        wide = [p for p in network.parameters() if _is_wide(p)]
        others = [p for p in network.parameters() if not _is_wide(p)]
        self.adamw = torch.optim.AdamW(
            others,
            lr=settings.learning_rate,
            betas=ADAMW_BETAS_BESIDE_MUON,
            weight_decay=settings.weight_decay,
            foreach=True,
        )
        self.both: list[torch.optim.Optimizer] = [self.adamw]
        if wide:
            muon = Muon(wide, settings.muon_learning_rate, settings.weight_decay)
            muon.param_groups[0]["times"] = settings.muon_learning_rate / settings.learning_rate
            self.both.append(muon)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both; "times": how many times the run's learning rate a group has."""
        return [group for one in self.both for group in one.param_groups]

    def step(self) -> None:
        """One step of both."""
        for one in self.both:
            one.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for one in self.both:
            one.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Of both, in order."""
        return {"both": [one.state_dict() for one in self.both]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `state_dict` gave it."""
        for one, its in zip(self.both, state["both"], strict=True):
            one.load_state_dict(its)


def make_optimizer(
    network: torch.nn.Module, settings: TrainSettings
) -> torch.optim.Optimizer | MuonWithAdamW:
    """The optimiser that the settings name."""
    if settings.optimizer == "muon":
        return MuonWithAdamW(network, settings)
    return torch.optim.AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer | MuonWithAdamW, rate: float) -> None:
    """Give every group the run's learning rate, times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("times", 1.0)


def _is_wide(weight: torch.Tensor) -> bool:
    return weight.ndim == 4 and min(weight.shape[:2]) >= LEAST_CHANNELS
