"""Tables of methods: the figures of the paper, distances from the posterior, coverage."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from row_files import (
    REPOSITORY,
    Row,
    markdown_rows,
    rows_of,
    table,
)

SCANS = ("8 views", "6 views", "4 views", "90 degrees")
FIGURES = REPOSITORY / "src/diffusionblend/benchmarking/published_figures.json"


def published_figures() -> str:
    """The figures of the paper."""
    rows = json.loads(FIGURES.read_text("utf-8"))["rows"]
    scans = [*SCANS, "90 degrees, AAPM"]
    lines = [
        [
            row["method"],
            *(f"{row[scan][0]:.2f} / {row[scan][1]:.3f}" if scan in row else "–" for scan in scans),
        ]
        for row in rows
    ]
    return table(("method", *(f"{scan}: PSNR (dB) / SSIM" for scan in scans)), lines)


def posterior(file: str, columns: tuple[str, ...]) -> str:
    """Distance from the exact posterior by number of steps, one line a method."""
    steps: list[str] = []
    lines: dict[str, list[str]] = {}
    for row in markdown_rows(file):
        if row["Steps"] not in steps:
            steps.append(row["Steps"])
        lines.setdefault(row["Method"], []).append(" / ".join(row[name] for name in columns))
    rows = [[method, *values] for method, values in lines.items()]
    return table(("method", *(f"{count} steps" for count in steps)), rows)


def calibration(start: str) -> str:
    """Coverage of the posterior standard deviation by tissue."""
    rows: list[list[object]] = []
    for row in rows_of("calibration.jsonl"):
        if row["start"] != start:
            continue
        inside = row["tissues"]["whole body"]["n_voxels"]
        for tissue, values in row["tissues"].items():
            rows.append(
                [
                    row["views"],
                    tissue,
                    _range(values["low_hu"], values["high_hu"]),
                    f"{100 * values['n_voxels'] / inside:.1f}",
                    *(f"{100 * values['within'][str(k)]:.1f}" for k in (1, 2)),
                    f"{values['mean_deviation_hu']:.1f}",
                    f"{values['rms_error_hu']:.1f}",
                ]
            )
        expected = [f"{100 * row['expected_within'][str(k)]:.1f}" for k in (1, 2)]
        label = f"expected of {row['n_samples']} samples"
        rows.append([row["views"], label, "–", "–", *expected, "–", "–"])
    headers = ("views", "tissue", "reference (HU)", "voxels (%)", "within 1 sd (%)")
    return table((*headers, "within 2 sd (%)", "mean sd (HU)", "RMS error (HU)"), rows)


ONE = "diffusionblend++, one reconstruction"
SAMPLERS = ("langevin", "diffusionblend++", "diffusionblend++, equal evaluations", ONE)


def posterior_samples() -> str:
    """One sample and the mean of four, and how often the truth lies within their spread."""
    stored = rows_of("posterior_samples.jsonl")
    found = {(row["setup"], row["volume"], row["label"]): row for row in stored}
    rows = []
    for setup, volume in sorted(dict.fromkeys(key[:2] for key in found)):
        for method in SAMPLERS:
            one = found.get((setup, volume, method))
            four = found.get((setup, volume, f"{method}, mean of four"))
            if one is not None and (four is not None or method == ONE):
                noise = "yes" if "photons" in setup else "no"
                rows.append([noise, volume.removesuffix(".nii.gz"), method, *_samples(one, four)])
    headers = ("noise", "patient", "method", "one sample (dB)", "mean of four (dB)", "gain (dB)")
    spread = ("within 1 / 2 sd (%)", "mean sd / RMS error (HU)")
    return table((*headers, *spread, "evaluations of a sample"), rows)


def _samples(one: Row, four: Row | None) -> list[object]:
    """PSNR of both and their difference, coverage, spread beside error, evaluations."""
    if four is None:
        return [f"{one['psnr_volume_db']:.2f}", *4 * ("–",), one["network_evaluations"]]
    body = four["calibration"]["tissues"]["whole body"]
    inside = " / ".join(f"{100 * body['within'][str(k)]:.1f}" for k in (1, 2))
    errors = f"{body['mean_deviation_hu']:.0f} / {body['rms_error_hu']:.0f}"
    decibels = [row["psnr_volume_db"] for row in (one, four)]
    gain = f"{decibels[1] - decibels[0]:.2f}"
    psnr = [f"{value:.2f}" for value in decibels]
    return [*psnr, gain, inside, errors, one["network_evaluations"]]


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "any" if high is None else f"below {high:g}"
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"


_DISTANCE = (
    "Error of the mean (in sd of the prior)",
    "Spread over the true one",
    "Correlation of neighbouring slices",
)
_WITH_SPECTRUM = (
    "Error of the mean (in sd of the prior)",
    "Cost of the mean's error (dB)",
    "Standard deviation over the true one",
    "Correlation of neighbouring slices",
    "Correlation of neighbouring pixels",
)

TABLES: dict[str, Callable[[], str]] = {
    "published-figures": published_figures,
    "posterior-distance": partial(posterior, "posterior_distance.md", _DISTANCE),
    "posterior-no-data": partial(posterior, "posterior_distance_without_data.md", _DISTANCE[1:]),
    "posterior-spectrum": partial(posterior, "posterior_distance_spectrum.md", _WITH_SPECTRUM),
    "posterior-arc": partial(posterior, "posterior_distance_spectrum_arc.md", _WITH_SPECTRUM),
    "posterior-langevin": partial(posterior, "posterior_distance_langevin.md", _WITH_SPECTRUM),
    "posterior-langevin-arc": partial(
        posterior, "posterior_distance_langevin_arc.md", _WITH_SPECTRUM
    ),
    "posterior-samples": posterior_samples,
    "calibration-noise": partial(calibration, "noise"),
    "calibration-fbp": partial(calibration, "fbp, from t = 249"),
}
