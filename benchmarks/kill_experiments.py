"""What is killed by `kill.py`: a small run of every command that writes, and what it must leave."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusionblend import synthetic_chest, write_volume
from diffusionblend.io.dicom.write import write_dicom_series

SIZE, SLICES = 32, 6
TINY = (
    *("--network.image-size", str(SIZE), "--network.unshuffle", "1"),
    *("--network.channels", "8", "16", "--network.norm-groups", "4"),
    *("--network.attention-head-channels", "8", "--batch-size", "2", "--warmup-steps", "1"),
    *("--precision", "float32", "--device", "cpu"),
)
TIMES = ("started", "seconds", "peak_memory_mb", "identity", "versions")
"""Of a record, what differs from run to run."""
UNFINISHED = (".state", ".previous", ".partial", ".replaced", ".lock", ".samples")


@dataclass(frozen=True)
class Experiment:
    """The command line for an output folder, and what it must leave.

    goes_on: words by which it says that it goes on. before: what is there before the run, made from
    the undisturbed one. ignored: endings of files that need not be equal.
    """

    words: Callable[[Path, Path], list[str]]
    goes_on: tuple[str, ...] = ("resuming", "exists already")
    before: Callable[[Path, Path, Path], None] | None = None
    ignored: tuple[str, ...] = ()

    def command(self, inputs: Path, output: Path) -> list[str]:
        """The words after `diffusionblend`."""
        return [str(word) for word in self.words(inputs, output)]

    def facts(self, output: Path) -> dict[str, str]:
        """A digest of each file that the run left, by name; of DICOM of the pixels."""
        files = sorted(p for p in output.rglob("*") if p.is_file())
        kept = [p for p in files if not p.name.endswith(self.ignored)] if self.ignored else files
        return {str(p.relative_to(output)): _digest(p) for p in kept}


def _digest(path: Path) -> str:
    if path.suffix == ".dcm":
        import pydicom

        dataset = pydicom.dcmread(path)
        place = f"{dataset.ImagePositionPatient} {dataset.InstanceNumber}".encode()
        return hashlib.sha256(dataset.PixelData + place).hexdigest()
    if path.name.endswith(".run.json"):
        record = json.loads(path.read_text())
        return f"{record['command']} {sorted(set(record) - set(TIMES))}"
    if path.suffix in (".jsonl", ".html", ".csv", ".md", ".json"):  # with times, sizes and names
        return "there"
    if path.suffix == ".pt":
        import torch

        state = torch.load(path, weights_only=True)
        return str([state["step"], *(_bytes_of(state[k]) for k in ("unet", "ema", "optimizer"))])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _bytes_of(state: object) -> str:
    """A digest of tensors, however they are nested."""
    import torch

    if isinstance(state, torch.Tensor):
        return hashlib.sha256(state.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(state, dict):
        return str({k: _bytes_of(v) for k, v in state.items()})
    if isinstance(state, list | tuple):
        return str([_bytes_of(v) for v in state])
    return repr(state)


def leftovers(output: Path) -> list[str]:
    """Hidden and unfinished files in and beside an output."""
    found = [p for p in output.rglob("*") if p.name.startswith(".") or p.suffix in UNFINISHED]
    found += [p for p in output.parent.iterdir() if output.name in p.name and p.name[0] == "."]
    return [p.name for p in found if not p.name.endswith("checkpoint.previous.pt")]


def prepare(folder: Path, run: Callable[[list[str]], object]) -> None:
    """The inputs of all runs, in a folder. run: does a command of the program."""
    chest = synthetic_chest(1, shape=(SLICES, SIZE, SIZE))
    other = synthetic_chest(2, shape=(SLICES, SIZE, SIZE))
    for name, volume in (("a", chest), ("b", other)):
        write_volume(volume, folder / "volumes" / f"{name}.nii.gz")
        write_dicom_series(volume, folder / f"series-{name}")
    write_volume(chest, folder / "one" / "a.nii.gz")
    for seed in (8, 9):
        unseen = synthetic_chest(seed, shape=(SLICES, SIZE, SIZE))
        write_volume(unseen, folder / "patients" / f"unseen-{seed}.nii.gz")
    for name in ("a", "b"):
        run([
            *("simulate", str(folder / "volumes" / f"{name}.nii.gz")),
            *("-o", str(folder / "scans" / f"{name}.h5"), "--views", "6", "--photons", "1e5"),
        ])  # fmt: skip
    for path in (folder / "scans").glob("*.run.json"):
        path.unlink()
    shutil.copy(folder / "scans" / "a.h5", folder / "scan.h5")
    rng = np.random.default_rng(0)
    flats = rng.poisson(1e4, (4, SLICES, SIZE + 8))
    counts = rng.poisson(1e4 * np.exp(-_disc_lines()))
    np.savez(folder / "counts.npz", data=counts, flats=flats, angles_degrees=np.arange(0, 180, 4.0))
    network = [str(folder / "volumes"), "-o", str(folder / "prior"), *TINY]
    run(["train", *network, "--steps", "2", "--validation-share", "0.5"])
    slices = ["--prior-type", "slices"]
    run(
        ["train", str(folder / "volumes"), "-o", str(folder / "prior-slices"), *TINY, *slices]
        + ["--steps", "2", "--validation-share", "0.5"]
    )
    run(["reconstruct", str(folder / "scan.h5"), "-o", str(folder / "fbp.nii.gz"), *FBP])


FBP = ("--method", "fbp", "--device", "cpu")


def _disc_lines() -> np.ndarray:
    """Line integrals (view, row, column) of a disc a little beside the axis."""
    angles = np.radians(np.arange(0, 180, 4.0))
    p = np.arange(SIZE + 8) - (SIZE + 7) / 2 - 3 * np.cos(angles)[:, None]
    lines = 0.1 * np.sqrt(np.maximum(10.0**2 - p**2, 0))
    return np.repeat(lines[:, None], SLICES, axis=1)


def _sampled(inputs: Path, *words: object) -> list[object]:
    """A reconstruction by the tiny prior, its state kept after every step."""
    return [
        *("reconstruct", *words, "--prior", inputs / "prior", "--steps", 8),
        *("--checkpoint-minutes", 0, "--device", "cpu", "--consistency", "cg"),
    ]


def _older_export(inputs: Path, output: Path, whole: Path) -> None:
    """An export of another volume is there before."""
    output.mkdir(parents=True)
    shutil.copytree(inputs / "series-b", output / "dicom")


EXPERIMENTS: dict[str, Experiment] = {
    "import": Experiment(lambda i, o: ["import", i / "series-a", "-o", o / "a.nii.gz"]),
    "import resampled": Experiment(
        lambda i, o: ["import", i / "volumes/a.nii.gz", "-o", o / "a.nrrd", "--size", 24]
    ),
    "simulate": Experiment(
        lambda i, o: [
            *("simulate", i / "volumes/a.nii.gz", "-o", o / "a.h5"),
            *("--views", 12, "--photons", 1e5),
        ]
    ),
    "projections import": Experiment(
        lambda i, o: [
            *("projections", "import", i / "counts.npz", "-o", o / "a.h5"),
            *("--column-mm", 1, "--ring-columns", 5),
        ]
    ),
    "reconstruct": Experiment(lambda i, o: _sampled(i, i / "scan.h5", "-o", o / "a.nii.gz")),
    "reconstruct samples": Experiment(
        lambda i, o: _sampled(i, i / "scan.h5", "-o", o / "a.nii.gz", "--samples", 3)
    ),
    "reconstruct folder": Experiment(lambda i, o: _sampled(i, i / "scans", "-o", o)),
    "reconstruct admm-tv": Experiment(
        lambda i, o: [
            *("reconstruct", i / "scan.h5", "-o", o / "a.nii.gz", "--method", "admm-tv"),
            *("--iterations", 40, "--device", "cpu"),
        ]
    ),
    "train": Experiment(
        lambda i, o: [
            *("train", i / "volumes", "-o", o, *TINY, "--steps", 12, "--checkpoint-minutes", 0),
            *("--validation-share", 0.5, "--validate-every", 5),
        ],
        ignored=("checkpoint.previous.pt", "index.json"),
    ),
    "benchmark": Experiment(
        lambda i, o: [
            *("benchmark", i / "one", "-o", o, "--methods", "fbp", "sirt", "--views", 6, 4),
            *("--device", "cpu"),
        ],
        ignored=(".png",),
    ),
    "calibrate": Experiment(
        lambda i, o: [
            *("calibrate", i / "patients", "-o", o / "bands.json", "--views", 6, "--steps", 2),
            *("--samples", 2, "--device", "cpu", "--prior", i / "prior", "--oversample", 1),
        ]
    ),
    "evaluate": Experiment(
        lambda i, o: [
            *("evaluate", i / "fbp.nii.gz", "--reference", i / "one/a.nii.gz"),
            *("--report", o / "a.html", "--figure", o / "a.png"),
        ],
        ignored=(".png",),
    ),
    "view": Experiment(
        lambda i, o: ["view", i / "one/a.nii.gz", i / "fbp.nii.gz", "--static", o / "a.html"]
    ),
    "export": Experiment(lambda i, o: ["export", i / "one/a.nii.gz", "-o", o / "dicom"]),
    "export over an older one": Experiment(
        lambda i, o: ["export", i / "one/a.nii.gz", "-o", o / "dicom", "--force"],
        before=_older_export,
    ),
    "export tiff": Experiment(
        lambda i, o: ["export", i / "one/a.nii.gz", "-o", o / "tiff", "--format", "tiff"]
    ),
    "sample": Experiment(lambda i, o: ["sample", "counts", "-o", o / "counts.npz"]),
    "demo": Experiment(
        lambda i, o: [
            *("demo", "--input", i / "one/a.nii.gz", "-o", o, "--prior", i / "prior"),
            *("--steps", 2, "--device", "cpu"),
        ],
        ignored=(".png",),
    ),
    "run": Experiment(
        lambda i, o: ["run", i / "one/a.nii.gz", "-o", o, "--method", "fbp", "--device", "cpu"],
        ignored=(".png",),
    ),
}
