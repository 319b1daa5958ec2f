"""What several benchmarks share: the machine, rows with their facts, a tiny network, tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from diffusionblend.io.jsonl import append_json_line
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.runs.record import versions

TINY_NETWORK = NetworkConfig(
    image_size=32, unshuffle=1, channels=(8, 16), norm_groups=4, attention_head_channels=8
)
"""The network of `--tiny`, with which the tests try the benchmarks in seconds."""


def say(text: str) -> None:
    """Print at once, so that a log shows where a run is."""
    print(text, flush=True)


def facts() -> dict[str, object]:
    """What every row records: date and versions."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}


def add_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Add rows with their facts to a file of JSON lines."""
    for row in rows:
        append_json_line(path, {**row, **facts()})


def versions_in_words() -> str:
    """The versions on one line, for below a table."""
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def machine(device: str = "cpu") -> dict[str, object]:
    """What measured times depend on."""
    found: dict[str, object] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name()
        found["gpu_memory_gb"] = round(torch.cuda.mem_get_info()[1] / 1e9, 1)
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
