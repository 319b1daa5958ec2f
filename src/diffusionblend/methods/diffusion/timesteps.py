"""The timesteps of a reverse process."""

from __future__ import annotations

from diffusionblend.errors import InputError


def sampling_timesteps(
    steps: int, n_timesteps: int, *, first: int | None = None, power: float = 1.0
) -> list[int]:
    """`steps` timesteps from `first` (by default T - 1) down; after the last the volume is clean.

    Timestep i is (first + 1) (1 - i / steps)^power - 1, rounded: equally spaced with power 1, and
    denser towards the end with a higher one. Raises InputError where timesteps would repeat.
    """
    first = n_timesteps - 1 if first is None else first
    if not 0 <= first < n_timesteps:
        raise InputError(
            f"The first timestep is {first}.", f"0 to {n_timesteps - 1}, one of the prior's"
        )
    if not 1 <= steps <= first + 1:
        raise InputError(
            f"steps is {steps}.",
            f"1 to {first + 1}, the timesteps there are",
            "" if first == n_timesteps - 1 else f"--init noise, which has {n_timesteps}",
        )
    if not power >= 1:
        raise InputError(f"The timesteps' power is {power}.", "at least 1")
    times: list[int] = []
    for i in range(steps):
        t = round((first + 1) * (1 - i / steps) ** power - 1)
        times.append(min(t, times[-1] - 1) if times else t)
    return [max(t, steps - 1 - i) for i, t in enumerate(times)]
