"""Tables of all methods: quality, cost, searched values, the paper's order, distances, coverage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial

from row_files import (
    PLANES,
    REPOSITORY,
    Row,
    by_planes,
    markdown_rows,
    only,
    rows_of,
    seconds,
    table,
)

OWN = "every_method/rows.jsonl"
PUBLISHED_LOOP = "every_method/rows_published.jsonl"
TWO_STEPS = "every_method/rows_two_steps.jsonl"
MORE_STEPS = "every_method/rows_200_steps.jsonl"
SCANS = ("8 views", "6 views", "4 views", "90 degrees")
FIGURES = REPOSITORY / "src/diffusionblend/benchmarking/published_figures.json"


def _methods() -> list[str]:
    order = [
        *("fbp", "sirt", "cgls", "admm-tv", "fbp-unet", "dds-2d", "dds"),
        *("diffusion-mbir", "tpdm", "diffusionblend", "diffusionblend++"),
    ]
    return [name for name in order if any(row["method"] == name for row in rows_of(OWN))]


def half_interval(row: Row, stem: str, plane: str) -> float:
    """Half of the 95 % interval of a mean over slices: 1.96 standard errors."""
    return 1.96 * row[f"{stem}_{plane}_sd"] / math.sqrt(row[f"slices_{plane}"])


def _plane(plane: str) -> str:
    rows = []
    for method in _methods():
        line: list[object] = [f"`{method}`"]
        for scan in SCANS:
            row = only(rows_of(OWN), method=method, setting=scan)
            for stem, digits in (("psnr", 2), ("ssim", 3)):
                half = half_interval(row, stem, plane)
                line.append(f"{row[f'{stem}_{plane}']:.{digits}f} ± {half:.{digits}f}")
        rows.append(line)
    headers = [f"{scan}: {what}" for scan in SCANS for what in ("PSNR (dB)", "SSIM")]
    return table(("method", *headers), rows)


def volume() -> str:
    """Volume PSNR of every method."""
    rows = [
        [
            f"`{method}`",
            *(
                f"{only(rows_of(OWN), method=method, setting=scan)['psnr_volume_db']:.2f}"
                for scan in SCANS
            ),
        ]
        for method in _methods()
    ]
    return table(("method", *(f"{scan}: PSNR (dB)" for scan in SCANS)), rows)


def choosing() -> str:
    """Axial, coronal and volume PSNR of every method, and its time at 8 views."""
    rows = []
    for method in _methods():
        found = [only(rows_of(OWN), method=method, setting=scan) for scan in SCANS]
        keys = ("psnr_axial", "psnr_coronal", "psnr_volume_db")
        decibels = [" / ".join(f"{row[key]:.2f}" for key in keys) for row in found]
        rows.append([f"`{method}`", *decibels, f"{found[0]['seconds']:.0f}"])
    return table(("method", *SCANS, "seconds, 8 views"), rows)


def cost() -> str:
    """Seconds, network evaluations and, of the runs of two steps, peak memory."""
    rows = []
    for method in _methods():
        found = [only(rows_of(OWN), method=method, setting=scan) for scan in SCANS]
        memory = only(rows_of(TWO_STEPS), method=method, setting="8 views")["peak_memory_mb"]
        rows.append(
            [
                f"`{method}`",
                *(f"{row['seconds']:.1f}" for row in found),
                found[0]["network_calls"],
                f"{memory:.0f}",
            ]
        )
    headers = [f"{scan}: seconds" for scan in SCANS]
    return table(("method", *headers, "network evaluations", "peak memory (MB)"), rows)


def searched() -> str:
    """The regularisation weights that were searched on a training volume."""
    stored = rows_of("every_method/tuned.jsonl")
    rows = []
    for scan in SCANS:
        for method in _methods():
            for row in stored:
                if row["setting"] == scan and row["method"] == method:
                    tried = ", ".join(f"{v}: {dB:.2f}" for v, dB in row["psnr_volume_db"].items())
                    name = f"`{row['searched']}`"
                    rows.append([scan, f"`{method}`", name, f"{row['value']:g}", tried])
    headers = ("scan", "method", "searched", "chosen", "value: volume PSNR (dB)")
    return table(headers, rows)


def _difference(better: Row, worse: Row) -> str:
    keys = [*(f"psnr_{plane}" for plane in PLANES), "psnr_volume_db"]
    decibels = " / ".join(f"{better[key] - worse[key]:+.2f}" for key in keys)
    similarity = " / ".join(
        f"{better[f'ssim_{plane}'] - worse[f'ssim_{plane}']:+.3f}" for plane in PLANES
    )
    return f"{decibels}; {similarity}"


def order(joint_rows: str) -> str:
    """Differences of the methods that the paper puts in order."""
    rows = []
    for scan in SCANS:
        own = partial(only, rows_of(OWN), setting=scan)
        joint = only(rows_of(joint_rows), setting=scan, method="diffusionblend++")
        rows.append(
            [
                scan,
                _difference(joint, own(method="diffusionblend")),
                _difference(own(method="diffusionblend"), own(method="dds")),
                _difference(own(method="dds"), own(method="dds-2d")),
            ]
        )
    headers = ("scan", "joint less conditional", "conditional less DDS", "DDS less DDS 2D")
    return table(headers, rows)


def _psnr(row: Row) -> str:
    return f"{by_planes(row, 'psnr')} / {row['psnr_volume_db']:.2f}"


def published_loop() -> str:
    """DiffusionBlend++ with the paper's loop and 50 steps."""
    rows = [
        [scan, _psnr(row), by_planes(row, "ssim", 3), f"{row['seconds']:.0f}"]
        for scan in SCANS
        for row in [only(rows_of(PUBLISHED_LOOP), setting=scan, method="diffusionblend++")]
    ]
    headers = ("scan", "PSNR (dB), axial / coronal / sagittal / volume")
    return table((*headers, "SSIM, axial / coronal / sagittal", "seconds"), rows)


def more_steps() -> str:
    """50 against 200 steps."""
    rows = []
    for row in rows_of(MORE_STEPS):
        method, scan = row["method"], row["setting"]
        file = PUBLISHED_LOOP if method == "diffusionblend++" else OWN
        short = only(rows_of(file), setting=scan, method=method)
        cells = [scan, f"`{method}`", _psnr(short), _psnr(row), seconds(row["seconds"])]
        rows.append(cells)
    rows.sort(key=lambda cells: (cells[1] == "`diffusion-mbir`", SCANS.index(str(cells[0]))))
    return table(("scan", "method", "50 steps", "200 steps", "seconds of 200"), rows)


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
    **{f"every-method-{plane}": partial(_plane, plane) for plane in PLANES},
    "every-method-volume": volume,
    "choosing-a-method": choosing,
    "every-method-cost": cost,
    "every-method-searched": searched,
    "order-own": partial(order, OWN),
    "order-published": partial(order, PUBLISHED_LOOP),
    "published-loop": published_loop,
    "more-steps": more_steps,
    "published-figures": published_figures,
    "posterior-distance": partial(posterior, "posterior_distance.md", _DISTANCE),
    "posterior-no-data": partial(posterior, "posterior_distance_without_data.md", _DISTANCE[1:]),
    "posterior-spectrum": partial(posterior, "posterior_distance_spectrum.md", _WITH_SPECTRUM),
    "posterior-arc": partial(posterior, "posterior_distance_spectrum_arc.md", _WITH_SPECTRUM),
    "calibration-noise": partial(calibration, "noise"),
    "calibration-fbp": partial(calibration, "fbp, from t = 249"),
}
