"""Tables of every method with the installed priors, on three validation patients and two seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from row_files import PLANES, Row, rows_of, table

ROWS_FILE, TUNED_FILE = "every_method.jsonl", "every_method_tuned.jsonl"
METHODS = (
    *("fbp", "sirt", "cgls", "admm-tv", "fbp-unet", "dds-2d", "dds"),
    *("diffusion-mbir", "tpdm", "diffusionblend", "diffusionblend++"),
)
JOINT, CONDITIONAL, DDS, DDS_2D = "diffusionblend++", "diffusionblend", "dds", "dds-2d"
PUBLISHED = ", as published"
"""Of the labels of methods with the settings of the papers."""


def _scans() -> list[str]:
    return list(dict.fromkeys(row["setup"] for row in rows_of(ROWS_FILE)))


def _labels() -> list[str]:
    published = (f"{name}{PUBLISHED}" for name in (DDS_2D, DDS, CONDITIONAL, JOINT))
    return [*METHODS, *published]


def _found(label: str, scan: str) -> list[Row]:
    rows = [r for r in rows_of(ROWS_FILE) if (r["label"], r["setup"]) == (label, scan)]
    if not rows:
        raise LookupError(f"no rows of {label}, {scan}")
    return sorted(rows, key=lambda row: (row["volume"], row["seed"]))


def _mean(rows: list[Row], key: str) -> float:
    """The mean over patients of the mean over seeds."""
    patients = {row["volume"] for row in rows}
    by_patient = ([row[key] for row in rows if row["volume"] == name] for name in patients)
    return sum(sum(values) / len(values) for values in by_patient) / len(patients)


def _each(rows: list[Row], key: str) -> str:
    """The means over seeds of each patient, by name."""
    names = sorted({row["volume"] for row in rows})
    return " / ".join(f"{_mean([r for r in rows if r['volume'] == n], key):.2f}" for n in names)


def volume() -> str:
    """Volume PSNR of every method, mean and each patient."""
    rows = []
    for label in _labels():
        cells = [_found(label, scan) for scan in _scans()]
        key = "psnr_volume_db"
        rows.append([f"`{label}`", *(f"{_mean(c, key):.2f} ({_each(c, key)})" for c in cells)])
    return table(("method", *_scans()), rows)


def _plane(plane: str) -> str:
    rows = []
    for label in _labels():
        cells = [_found(label, scan) for scan in _scans()]
        psnr, ssim = f"psnr_{plane}", f"ssim_{plane}"
        rows.append(
            [f"`{label}`", *(f"{_mean(c, psnr):.2f} / {_mean(c, ssim):.3f}" for c in cells)]
        )
    return table(("method", *(f"{scan}: PSNR (dB) / SSIM" for scan in _scans())), rows)


def choosing() -> str:
    """Axial, coronal and volume PSNR of every method, and its time at 8 views."""
    keys = ("psnr_axial", "psnr_coronal", "psnr_volume_db")
    rows = []
    for label in METHODS:
        cells = [_found(label, scan) for scan in _scans()]
        decibels = [" / ".join(f"{_mean(found, key):.2f}" for key in keys) for found in cells]
        time = f"{median(row['seconds'] for row in _found(label, '8 views')):.0f}"
        rows.append([f"`{label}`", *decibels, time])
    return table(("method", *_scans(), "seconds, 8 views"), rows)


def cost() -> str:
    """Median seconds and, at 8 views, network evaluations and highest peak memory."""
    rows = []
    for label in METHODS:
        cells = [_found(label, scan) for scan in _scans()]
        times = (f"{median(row['seconds'] for row in found):.1f}" for found in cells)
        first = cells[0]
        memory = max(row["peak_memory_mb"] for row in first)
        rows.append([f"`{label}`", *times, first[0]["network_evaluations"], f"{memory:.0f}"])
    headers = [f"{scan}: seconds" for scan in _scans()]
    return table(("method", *headers, "network evaluations", "peak memory (MB)"), rows)


def searched() -> str:
    """The weights and iterations that were searched on a training patient."""
    rows = []
    for row in rows_of(TUNED_FILE):
        tried = ", ".join(f"{v}: {dB:.2f}" for v, dB in row["psnr_volume_db"].items())
        name = f"`{row['searched']}`"
        rows.append([row["setup"], f"`{row['label']}`", name, f"{row['value']:g}", tried])
    return table(("scan", "method", "searched", "chosen", "value: volume PSNR (dB)"), rows)


def _difference(better: list[Row], worse: list[Row]) -> str:
    keys = [*(f"psnr_{plane}" for plane in PLANES), "psnr_volume_db"]
    decibels = " / ".join(f"{_mean(better, key) - _mean(worse, key):+.2f}" for key in keys)
    keys = [f"ssim_{plane}" for plane in PLANES]
    similarity = " / ".join(f"{_mean(better, key) - _mean(worse, key):+.3f}" for key in keys)
    return f"{decibels}; {similarity}"


def order(ending: str) -> str:
    """Differences of the methods that the paper puts in order."""
    rows = []
    for scan in _scans():
        joint, conditional, dds, single = (
            _found(f"{name}{ending}", scan) for name in (JOINT, CONDITIONAL, DDS, DDS_2D)
        )
        pairs = ((joint, conditional), (conditional, dds), (dds, single))
        rows.append([scan, *(_difference(*pair) for pair in pairs)])
    headers = ("scan", "joint less conditional", "conditional less DDS", "DDS less DDS 2D")
    return table(headers, rows)


TABLES: dict[str, Callable[[], str]] = {
    "every-method-volume": volume,
    **{f"every-method-{plane}": partial(_plane, plane) for plane in PLANES},
    "choosing-a-method": choosing,
    "every-method-cost": cost,
    "every-method-searched": searched,
    "order-own": partial(order, ""),
    "order-published": partial(order, PUBLISHED),
}
