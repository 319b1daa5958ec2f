"""The state of a long run, kept beside its output until it ends: a plain mapping of arrays."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError, OutputWriteError
from diffusionblend.runs.state_file import read_state, remove_state, write_state

MINUTE_SECONDS = 60.0

Arrays = Mapping[str, np.ndarray]


@dataclass
class KeptState:
    """A state file, written every `every_seconds` and removed when the run has ended.

    identity: plain values of all that decides the run; a state of another run is refused. writes:
    whether this process is the one that writes. Raises InputError.
    """

    path: Path
    identity: dict[str, object]
    every_seconds: float
    writes: bool = True
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not self.every_seconds >= 0:
            raise InputError(
                f"A state was to be kept every {self.every_seconds / MINUTE_SECONDS:g} minutes.",
                "0 (after every step) or more",
                "--checkpoint-minutes 2",
            )

    def resume(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The steps done and the arrays that were kept; None where there are none.

        Raises InputError for a damaged file without a whole one before it, or one of another run.
        """
        return read_state(self.path, self.identity)

    def keep_if_due(self, done: int, arrays: Callable[[], Arrays]) -> None:
        """Keep the arrays after `done` steps if the last writing is long enough ago.

        Where they cannot be written the run goes on without, with a warning.
        """
        if self.writes and time.monotonic() - self._last >= self.every_seconds:
            try:
                self.keep(done, arrays())
            except (OutputWriteError, OSError) as error:
                self._last = time.monotonic()
                reason = error.got if isinstance(error, OutputWriteError) else str(error)
                warnings.warn(
                    f"no state was kept after step {done}; the run goes on. {reason}", stacklevel=2
                )

    def keep(self, done: int, arrays: Arrays) -> None:
        """Keep the arrays after `done` steps. Raises OutputWriteError."""
        if self.writes:
            write_state(self.path, done, arrays, self.identity)
            self._last = time.monotonic()

    def forget(self) -> None:
        """Remove the file: the run has ended, or begins anew."""
        if self.writes:
            remove_state(self.path)
