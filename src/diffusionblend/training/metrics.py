"""The metrics of a training run: one line of JSON each, in metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

from diffusionblend.io.files import atomic_output

METRICS_FILE = "metrics.jsonl"


class Metrics:
    """The metrics file in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = Path(folder) / METRICS_FILE

    def drop_after(self, step: int) -> None:
        """Forget metrics of steps that the checkpoint does not have, since they come again."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except json.JSONDecodeError:  # a crash or a full disk cut it short
                continue
        with atomic_output(self._path, force=True) as temporary:
            temporary.write_text("".join(kept))

    def write(self, step: int, **values: float) -> None:
        """Add a line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
