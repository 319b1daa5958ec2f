"""The state of a long reconstruction, kept beside its output until it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.runs.state_file import read_state, write_state
from diffusionblend.cli.plan import MINUTE

if TYPE_CHECKING:
    from diffusionblend.methods.diffusion.sampler import SamplerState


STATE_FIELDS = ("x", "generator", "dual", "total")
"""Of a `SamplerState`; what else is in a file are its variables."""


@dataclass
class KeptState:
    """A state file, written every `every_seconds` and removed when the run has ended.

    identity: plain values of all that decides the run; a state of another run is refused. writes:
    whether this process is the one of its ranks that writes. Raises InputError.
    """

    path: Path
    identity: dict[str, object]
    every_seconds: float
    writes: bool = True
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not self.every_seconds >= 0:
            raise InputError(
                f"A state was to be kept every {self.every_seconds / MINUTE:g} minutes.",
                "0 (after every step) or more",
                "--checkpoint-minutes 2",
            )

    def resume(self) -> SamplerState | None:
        """The state there is, None without one. Raises InputError on one of another run."""
        import torch

        from diffusionblend.methods.diffusion.sampler import SamplerState

        found = read_state(self.path, self.identity)
        if found is None:
            return None
        done, arrays = found
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        fields = {n: tensors.pop(n) for n in STATE_FIELDS if n in tensors}
        return SamplerState(done, **fields, variables=tensors)

    def keep_if_due(self, state: SamplerState) -> None:
        """Write the state if the last writing is long enough ago; raises OutputWriteError."""
        if not self.writes or time.monotonic() - self._last < self.every_seconds:
            return
        tensors = {n: getattr(state, n) for n in STATE_FIELDS} | state.variables
        arrays = {n: t.cpu().numpy() for n, t in tensors.items() if t is not None}
        write_state(self.path, state.done, arrays, self.identity)
        self._last = time.monotonic()

    def forget(self) -> None:
        """Remove the file: the run has ended, or begins anew."""
        if self.writes:
            self.path.unlink(missing_ok=True)
