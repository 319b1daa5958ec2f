"""The metrics of a training run: one line of JSON each, and TensorBoard's files where asked for."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import atomic_output
from diffusionblend.io.json_file import NO_JSON

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.jsonl"
PICTURE_FILE = "progress.png"
LOSSES = {"loss": "training, mean of 50 steps", "validation_loss": "validation"}
TENSORBOARD_FOLDER = "tensorboard"


class Metrics:
    """The metrics file in a run's folder, and a folder for TensorBoard beside it if asked for."""

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self._path = Path(folder) / METRICS_FILE
        self._tensorboard = Path(folder) / TENSORBOARD_FOLDER if tensorboard else None
        self._writer: SummaryWriter | None = None
        if tensorboard:
            check_tensorboard()

    def drop_after(self, step: int) -> None:
        """Forget metrics of steps that the checkpoint does not have, since they come again."""
        if not self._path.exists():
            return
        kept, damaged = [], 0
        *lines, _ = self._path.read_bytes().split(b"\n")  # the last one may have been cut short
        for line in lines:
            found = _step_of(line)
            if found is None:
                damaged += 1
            elif found <= step:
                kept.append(line + b"\n")
        if damaged:
            warnings.warn(
                f"{damaged} line(s) of {self._path} were damaged and are left out", stacklevel=2
            )
        with atomic_output(self._path, force=True) as temporary:
            temporary.write_bytes(b"".join(kept))

    def write(self, step: int, **values: float) -> None:
        """Add a line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._tensorboard is None:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._tensorboard), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def draw(self) -> None:
        """Draw the losses over the steps beside the file; a picture that cannot be is left out."""
        try:
            rows = [json.loads(line) for line in self._path.read_text().splitlines()]
            with atomic_output(self._path.with_name(PICTURE_FILE), force=True) as temporary:
                _losses_drawn(rows, temporary)
        except (OSError, *NO_JSON, KeyError, TypeError) as error:
            warnings.warn(f"{PICTURE_FILE} could not be drawn: {error}", stacklevel=2)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _losses_drawn(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """A picture (PNG) of the training and validation losses of metrics, by their steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in LOSSES.items():
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    with path.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def _step_of(line: bytes) -> float | None:
    """The step of a line; None where it is damaged."""
    try:
        row = json.loads(line)
    except NO_JSON:
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if isinstance(step, int | float) else None


def check_tensorboard() -> None:
    """Raises InputError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise InputError(
            "TensorBoard is not installed.",
            "the package tensorboard",
            "pip install 'diffusionblend[tensorboard]'",
        )
