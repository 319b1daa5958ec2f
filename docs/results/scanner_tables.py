"""Tables of what real scanners add: metal, helices."""

from __future__ import annotations

from collections.abc import Callable

from row_files import Row, rows_of, table

PATIENTS = ("HCC_013", "LIDC-IDRI-0001", "LIDC-IDRI-0003")
CORRECTIONS = (
    ("fbp", "all", "none, FBP"),
    ("admm-tv", "all", "none, ADMM-TV"),
    ("fbp", "interpolated", "interpolated, FBP"),
    ("admm-tv", "interpolated", "interpolated, ADMM-TV"),
    ("admm-tv", "left_out", "left out, ADMM-TV"),
    ("diffusionblend++", "left_out", "left out, DiffusionBlend++"),
)
"""Method, what is done about the rays through metal, and the heading of the two."""


def _mean_and_each(found: list[Row], figure: str, digits: int = 2) -> str:
    """The mean over the patients, with each of them behind it."""
    values = [row[figure] for row in found]
    if len(values) != len(PATIENTS):
        raise LookupError(f"{len(values)} patients' rows of {figure}, expected {len(PATIENTS)}")
    mean = sum(values) / len(values)
    return f"{mean:.{digits}f} ({' / '.join(f'{value:.{digits}f}' for value in values)})"


def metal() -> str:
    """PSNR outside the metal by views, implant and correction."""
    stored = sorted(rows_of("metal.jsonl"), key=lambda row: row["patient"])
    rows = []
    for views in sorted({row["views"] for row in stored}, reverse=True):
        for implant in dict.fromkeys(row["implant"] for row in stored):
            cells: list[object] = [f"{views} views, {implant}"]
            for method, kind, _ in CORRECTIONS:
                wanted = (views, implant, method)
                found = [r for r in stored if (r["views"], r["implant"], r["method"]) == wanted]
                cells.append(_mean_and_each(found, kind))
            cells.append(f"{sum(row['percent'] for row in found) / len(found):.1f}")
            rows.append(cells)
    headings = [heading for *_, heading in CORRECTIONS]
    return table(("scan", *headings, "rays through metal (%)"), rows)


def helix() -> str:
    """PSNR and SSIM of a helix at an eighth of its views, by method."""
    stored = sorted(rows_of("helix.jsonl"), key=lambda row: row["volume"])
    rows = []
    for label in dict.fromkeys(row["label"] for row in stored):
        found = [row for row in stored if row["label"] == label]
        planes = [f"psnr_{plane}" for plane in ("axial", "coronal", "sagittal")]
        figures = [_mean_and_each(found, name) for name in ("psnr_volume_db", *planes)]
        seconds = sum(row["seconds"] for row in found) / len(found)
        rows.append([label, *figures, _mean_and_each(found, "ssim_axial", 3), f"{seconds:.0f}"])
    planes = ["axial", "coronal", "sagittal"]
    return table(("method", "volume", *planes, "SSIM, axial", "seconds"), rows)


TABLES: dict[str, Callable[[], str]] = {"metal": metal, "helix": helix}
