"""Choices of the network and its training, each given the same minutes: which loss do they reach?

    python benchmarks/pack_volumes.py volumes/train -o train.npz --size 64
    python benchmarks/pack_volumes.py volumes/val -o val.npz --size 64
    python benchmarks/network_choices.py --train train.npz --validation val.npz --size 64 \
        --minutes 3 -o results/

Every choice differs from the first, `base`, in what its name says. The number of steps follows from
its speed, so that its learning rate has come down when the minutes are over. Losses are those of
the averaged weights on the held-out volumes with the same noise for all, and as mean squared errors
of the noise for all, so that v and eps compare. Finished choices are kept in rows.jsonl.

The command line is argparse's, as that of `gpu_train`, whose training it shares.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from common import say
from diffusionblend import InputError
from diffusionblend.errors import on_the_command_line
from diffusionblend.evaluation.tables import Column, format_table
from diffusionblend.io.jsonl import append_json_line, read_json_lines
from diffusionblend.training.loop import Trainer
from diffusionblend.training.settings import TrainSettings
from gpu_train import banks, settings_of, train_for

COLUMNS = (
    Column(key="choice", header="Choice"),
    Column(key="parameters_million", header="Parameters (M)", digits=2),
    Column(key="steps", header="Steps", digits=0),
    Column(key="ms_a_block", header="ms a block", digits=1),
    Column(key="validation_loss", header="Loss of v", digits=4),
    Column(key="validation_eps_loss", header="Loss of eps", digits=4),
)


def _network(**changes: object) -> Callable[[TrainSettings], TrainSettings]:
    return lambda s: replace(s, network=replace(s.network, **changes))


CHOICES: dict[str, Callable[[TrainSettings], TrainSettings]] = {
    "base": lambda s: s,
    "no stem, a finer level": lambda s: _network(
        unshuffle=1, channels=(s.network.channels[0], *s.network.channels)
    )(s),
    "stem of 4 x 4": lambda s: _network(unshuffle=2 * s.network.unshuffle)(s),
    "half the width": lambda s: _network(
        channels=tuple(c // 2 for c in s.network.channels),
        norm_groups=s.network.norm_groups // 2,
        attention_head_channels=s.network.attention_head_channels // 2,
    )(s),
    "two layers a level": _network(layers=2),
    "attention on two levels": _network(attention_levels=2),
    "eps": lambda s: replace(s, predict="eps"),
    "min-SNR": lambda s: replace(s, loss_weighting="min-snr"),
    "code in mm": lambda s: replace(s, code="mm"),
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--train", type=Path, required=True, help="pack of training volumes")
    add("--validation", type=Path, required=True, help="pack of other patients")
    add("-o", "--output", type=Path, required=True, help="folder for rows.jsonl and table.md")
    add("--minutes", type=float, default=3.0, help="of training, for each choice")
    add("--choices", nargs="+", default=list(CHOICES), choices=list(CHOICES))
    add("--size", type=int, default=64, help="pixels a side of a slice, as in the packs")
    add("--batch-size", type=int, default=8)
    add("--learning-rate", type=float, default=TrainSettings().learning_rate)
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="cuda or cpu")
    add("--tiny", action="store_true", help="a tiny network at 32 x 32, for the tests")
    defaults = {"synthetic": 0, "layers": 1, "validate_every": sys.maxsize, "init": None}
    parser.set_defaults(channels=list(TrainSettings().network.channels), **defaults)
    return parser.parse_args(arguments)


def run_choice(name: str, chosen: argparse.Namespace) -> dict[str, object]:
    """Train one choice for its minutes; its row."""
    base = settings_of(chosen, None)
    settings = CHOICES[name](base)
    train, validation, _ = banks(chosen, settings)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(settings, train, validation, Path(folder), device=chosen.device)
        train_for(trainer, chosen.minutes, chosen.minutes)
        losses = trainer.validation_losses()
    blocks = trainer.step * settings.batch_size
    parameters = sum(p.numel() for p in trainer.unet.parameters())
    return {
        "choice": name,
        "parameters_million": parameters / 1e6,
        "steps": trainer.step,
        "ms_a_block": 1e3 * trainer.seconds / blocks,
        "minutes": chosen.minutes,
        "size": chosen.size,
        "seed": chosen.seed,
        **losses,
    }


@on_the_command_line()
def main(arguments: list[str] | None = None) -> int:
    """Run the choices that are not there yet and print the table; 1 where an input is refused."""
    chosen = parse(arguments)
    rows_file = chosen.output / "rows.jsonl"
    asked = {"minutes": chosen.minutes, "size": chosen.size, "seed": chosen.seed}
    try:
        for name in chosen.choices:
            wanted = asked | {"choice": name}
            if any(wanted.items() <= row.items() for row in read_json_lines(rows_file)):
                continue
            say(f"{name}, {chosen.minutes:g} minutes")
            append_json_line(rows_file, run_choice(name, chosen))
    except InputError as error:
        print(f"network_choices: {error}", file=sys.stderr)
        return 1
    rows = [r for r in read_json_lines(rows_file) if asked.items() <= r.items()]
    table = format_table(rows, COLUMNS, "markdown")
    (chosen.output / "table.md").write_text(table + "\n")
    say(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
