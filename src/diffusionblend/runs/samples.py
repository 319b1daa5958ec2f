"""Where the samples of a run and their standard deviation lie, and which of them are finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import file_suffix
from diffusionblend.runs.record import RunRecord, read_run_record, run_record_path

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume

SAMPLES_SUFFIX = ".samples"
UNLIKE = "denoising_error"
"""In a run's record: the error with which the prior denoises the result, of samples the largest."""
DEVIATION_NAME, BAND_NAME = "sd", "band90"


def samples_folder(output: Path) -> Path:
    """Where the samples of a run that makes `output` lie until it ends: `<output>.samples`."""
    return output.with_name(output.name + SAMPLES_SUFFIX)


def deviation_path(output: Path) -> Path:
    """Where the standard deviation goes, beside the mean: `a.sd.nii.gz` for `a.nii.gz`."""
    return _beside(output, DEVIATION_NAME)


def band_path(output: Path) -> Path:
    """Where half the width of the 90 % band goes: `a.band90.nii.gz` for `a.nii.gz`."""
    return _beside(output, BAND_NAME)


def _beside(output: Path, name: str) -> Path:
    suffix = file_suffix(output)
    return output.with_name(f"{output.name[: -len(suffix)]}.{name}{suffix}")


def sample_paths(output: Path, first_seed: int, count: int) -> dict[int, Path]:
    """The file of each sample, by its seed."""
    folder, suffix = samples_folder(output), file_suffix(output)
    return {seed: folder / f"seed-{seed}{suffix}" for seed in range(first_seed, first_seed + count)}


def is_finished(path: Path, identity: Mapping[str, object]) -> bool:
    """Whether a sample's run has ended, known by the record beside it.

    Raises InputError where it is of a run with another identity.
    """
    if not run_record_path(path).exists():
        return False
    found = read_run_record(run_record_path(path)).results.get("identity")
    if found != identity:
        raise InputError(
            f"The sample {path} is of a run with another scan, prior or settings.",
            "samples of the same run",
            "the first run's settings to finish it, or --force to start anew",
        )
    return True


def combine(
    paths: Mapping[int, Path], residual: Callable[[Volume], float], record: RunRecord
) -> tuple[Volume, Volume]:
    """Mean and standard deviation of the samples in HU; their cost and its residual recorded."""
    from diffusionblend.data.ensemble import mean_and_deviation
    from diffusionblend.io.volumes import read_volume

    mean, deviation = mean_and_deviation(read_volume(p, check=False) for p in paths.values())
    runs = [read_run_record(run_record_path(p)) for p in paths.values()]
    record.seconds["samples"] = sum(r.seconds.get("total", 0.0) for r in runs)
    record.results |= {
        "seeds": list(paths),
        "network_evaluations": sum(int(str(r.results["network_evaluations"])) for r in runs),
        "relative_residual": residual(mean),
        "mean_standard_deviation_hu": float(deviation.values.mean()),
    }
    if steps := runs[0].results.get("data_consistency"):
        record.results["data_consistency"] = steps  # of scan and settings, which all share
    unlike = [r.results[UNLIKE] for r in runs if r.results.get(UNLIKE) is not None]
    if unlike:
        record.results[UNLIKE] = max(unlike)
    return mean, deviation


def remove_samples(paths: Mapping[int, Path], output: Path) -> None:
    """Remove the samples and their records, and the folder if nothing else is in it."""
    for path in paths.values():
        path.unlink(missing_ok=True)
        run_record_path(path).unlink(missing_ok=True)
    folder = samples_folder(output)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def remove_samples_behind(output: Path) -> None:
    """Remove the samples of a run that was killed behind its record, unless it was to keep them."""
    record = run_record_path(output)
    if not samples_folder(output).is_dir() or not record.exists():
        return
    found = read_run_record(record)
    seeds = found.results.get("seeds")
    if found.settings.get("keep_samples") is False and isinstance(seeds, list) and seeds:
        remove_samples(sample_paths(output, int(seeds[0]), len(seeds)), output)
