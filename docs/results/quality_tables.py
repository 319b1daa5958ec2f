"""Tables of image quality: DiffusionBlend++ beside FBP and ADMM-TV, presets, partitions, steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from row_files import Row, by_planes, psnr, rows_of, seconds, table

PLUS_PLUS = "DiffusionBlend++"
PSNR_BY_PLANE = "PSNR (dB), axial / coronal / sagittal"


def partitions() -> str:
    """Partitions of DiffusionBlend++ at 8 and 4 views."""
    rows = [
        [
            row["setting"],
            row["method"].removeprefix(f"{PLUS_PLUS}, "),
            psnr(row),
            f"{row['psnr_volume_db']:.2f}",
            f"{row['ssim_axial']:.3f}",
            f"{row['tv_z_ratio']:.2f}",
            seconds(row["seconds"]),
        ]
        for row in rows_of("partitions.jsonl")
    ]
    headers = ("views", "partition", PSNR_BY_PLANE, "volume", "SSIM axial")
    return table((*headers, "TV along z over the reference's", "seconds"), rows)


INITIALISATIONS = {
    "noise, power 1": "noise, equal spacing",
    "noise, power 1.5": "noise, power 1.5",
    "noise, power 2": "noise, power 2",
    "fbp, power 1, from 0.25 T": "FBP, from t = 249",
    "fbp, power 1, from 0.35 T": "FBP, from t = 349",
    "fbp, power 1, from 0.5 T": "FBP, from t = 499",
    "cg, power 1, from 0.25 T": "CG, from t = 249",
    "cg, power 1, from 0.35 T": "CG, from t = 349",
    "cg, power 1, from 0.5 T": "CG, from t = 499",
    "tv, power 1, from 0.25 T": "ADMM-TV, from t = 249",
    "tv, power 1, from 0.35 T": "ADMM-TV, from t = 349",
    "tv, power 1, from 0.5 T": "ADMM-TV, from t = 499",
}


def fewer_steps() -> str:
    """Volume PSNR against network evaluations, by initialisation and spacing of the timesteps."""
    stored = rows_of("fewer_steps.jsonl")
    cells = [(views, steps) for views in (8, 4) for steps in (10, 20, 50, 100, 200)]
    rows = []
    for stem, label in INITIALISATIONS.items():
        line: list[object] = [label]
        for views, steps in cells:
            name = f"{stem}, {steps} steps"
            found = [row for row in stored if row["views"] == views and row["method"] == name]
            line.append(f"{found[0]['psnr_volume_db']:.2f}" if found else "–")
        rows.append(line)
    headers = ["initialisation, spacing", *(f"{views} views, {steps}" for views, steps in cells)]
    return table(headers, rows)


def learning_curve_256() -> str:
    """Quality of chest-256 while it was trained."""
    rows = [
        [
            row["training_steps"],
            f"{8 * row['training_steps']:,}",
            psnr(row),
            f"{row['psnr_volume_db']:.2f}",
            by_planes(row, "ssim", 3),
        ]
        for row in rows_of("learning_curve_256.jsonl")
    ]
    ssim_by_plane = "SSIM, axial / coronal / sagittal"
    headers = ("training steps", "blocks", PSNR_BY_PLANE, "volume", ssim_by_plane)
    return table(headers, rows)


STEPS_FILE = "data_consistency.jsonl"
"""Rows of benchmarks/quality/data-consistency.toml."""
FINE_FILE = "data_consistency_256.jsonl"
"""Of benchmarks/quality/data-consistency-256.toml."""
TOTAL_VARIATION = ("admm-tv", "admm-tv, weight 1")
COMPARED = (
    "fbp",
    "cgls",
    *TOTAL_VARIATION,
    "diffusionblend++, 5 CG iterations",
    "diffusionblend++, damping 0.85",
    "diffusionblend++",
)
SHORT_SETUPS = ("8 views", "4 views", "90 degrees")
MEASURED_LIKE = ", 1.11e+06 photons, from 2 x finer pixels"


def _mean(rows: list[Row], key: str = "psnr_volume_db") -> float:
    return sum(row[key] for row in rows) / len(rows)


def data_consistency() -> str:
    """Volume PSNR of each validation patient and their mean, by scan and method."""
    setups = dict.fromkeys(row["setup"] for row in rows_of(STEPS_FILE))
    return _by_scan(list(setups), COMPARED)


def presets() -> str:
    """The same of presets with 20 and 50 network evaluations, and of the 50 of before."""
    setups = [setup + noise for noise in ("", MEASURED_LIKE) for setup in SHORT_SETUPS]
    labels = ("diffusionblend++, fast", "diffusionblend++", "diffusionblend++, 5 CG iterations")
    return _by_scan(setups, labels)


def details() -> str:
    """Means of three patients: SSIM, smoothness along z, residual, error and bias in HU."""
    stored = rows_of(STEPS_FILE)
    rows = []
    for setup in (setup + noise for noise in ("", MEASURED_LIKE) for setup in SHORT_SETUPS):
        for label in ("fbp", "admm-tv, weight 1", "diffusionblend++"):
            found = [row for row in stored if (row["setup"], row["label"]) == (setup, label)]
            bias = [_mean(found, f"bias_{tissue}_hu") for tissue in ("lung", "soft_tissue", "bone")]
            rows.append(
                [
                    setup,
                    label,
                    f"{_mean(found, 'ssim_axial'):.3f}",
                    f"{_mean(found, 'tv_z_ratio'):.2f}",
                    f"{_mean(found, 'relative_residual'):.1e}",
                    f"{_mean(found, 'mean_absolute_error_hu'):.1f}",
                    " / ".join(f"{value:+.1f}" for value in bias),
                ]
            )
    headers = ("scan", "method", "SSIM axial", "TV along z over the reference's")
    bias_of = "bias in lung / soft tissue / bone (HU)"
    return table((*headers, "relative residual", "MAE (HU)", bias_of), rows)


def of_fine_pixels() -> str:
    """The same of slices of 256 x 256 pixels."""
    stored = rows_of(FINE_FILE)
    labels = [label for label in COMPARED if any(row["label"] == label for row in stored)]
    return _by_scan(list(dict.fromkeys(row["setup"] for row in stored)), labels, FINE_FILE)


def _by_scan(setups: Sequence[str], labels: Sequence[str], file: str = STEPS_FILE) -> str:
    stored = rows_of(file)
    rows = []
    for setup in setups:
        cells = [setup]
        for label in labels:
            found = [row for row in stored if (row["setup"], row["label"]) == (setup, label)]
            cells.append(_mean_and_each(found) if len(found) == 3 else "–")
        rows.append(cells)
    return table(("scan", *labels), rows)


def sizes() -> str:
    """Volume PSNR with other pixels and slice distances: mean and patients, and the difference."""
    stored = rows_of("sizes.jsonl")
    labels = ("admm-tv, weight 1", "diffusionblend++")
    rows = []
    for size, slice_mm in dict.fromkeys((row["size"], _slice_mm(row)) for row in stored):
        of_size = [r for r in stored if (r["size"], _slice_mm(r)) == (size, slice_mm)]
        for setup in dict.fromkeys(row["setup"] for row in of_size):
            found = [[r for r in of_size if (r["setup"], r["label"]) == (setup, n)] for n in labels]
            if any(len(each) < 3 for each in found):
                continue
            lead = f"{_mean(found[1]) - _mean(found[0]):.2f}"
            voxels = f"{size} x {size}, {slice_mm} mm"
            rows.append([voxels, setup, *map(_mean_and_each, found), lead])
    return table(("pixels, slice distance", "scan", *labels, "lead (dB)"), rows)


def int8_quality() -> str:
    """Volume PSNR of the defaults in float32 and with the network in int8."""
    stored = {"float32": rows_of(STEPS_FILE), "int8": rows_of("int8_quality.jsonl")}
    rows = []
    for setup in dict.fromkeys(row["setup"] for row in stored["int8"]):
        found = [
            [r for r in of_format if (r["setup"], r["label"]) == (setup, "diffusionblend++")]
            for of_format in stored.values()
        ]
        change = _mean(found[1]) - _mean(found[0])
        rows.append([setup, *map(_mean_and_each, found), f"{change:+.2f}"])
    return table(("scan", *stored, "change (dB)"), rows)


def _slice_mm(row: Row) -> str:
    return str(row["extent"].split(" x ")[-1].removesuffix(" mm"))


def _mean_and_each(rows: Sequence[Row]) -> str:
    by_volume = sorted(rows, key=lambda row: row["volume"])
    each = " / ".join(f"{row['psnr_volume_db']:.2f}" for row in by_volume)
    return f"{_mean(list(rows)):.2f} ({each})"


PROJECTIONS = {"": "noiseless, same operator", MEASURED_LIKE: "noise, finer pixels"}


def _short_means(setup: str) -> list[float]:
    """Mean volume PSNR of three patients: FBP, ADMM-TV with its better weight, the defaults."""
    stored = [row for row in rows_of(STEPS_FILE) if row["setup"] == setup]

    def mean(label: str) -> float:
        found = [row for row in stored if row["label"] == label]
        if len(found) != 3:
            raise LookupError(f"{len(found)} rows of {label} with {setup}, expected three")
        return _mean(found)

    weights = {row["label"] for row in stored} & set(TOTAL_VARIATION)
    return [mean("fbp"), max(map(mean, weights)), mean("diffusionblend++")]


def readme() -> str:
    """The rows of the README: mean volume PSNR of three patients, ADMM-TV's better weight."""
    rows = []
    for noise, what in PROJECTIONS.items():
        for setup in SHORT_SETUPS:
            fbp, tv, best = (f"{value:.2f} dB" for value in _short_means(setup + noise))
            rows.append([setup, what, fbp, tv, f"**{best}**"])
    return table(("scan", "projections", "FBP", "ADMM-TV", PLUS_PLUS), rows)


COLUMNS = 182
"""Detector columns a view, for slices of 128 x 128."""
VIEWS = {"4 views": 4, "8 views": 8, "60 degrees": 60, "90 degrees": 90, "120 degrees": 120}


def choosing_views() -> str:
    """Volume PSNR by views and arc, with the number of line integrals of a slice."""
    rows = []
    for noise, what in reversed(PROJECTIONS.items()):
        for setup, views in VIEWS.items():
            arc = setup.removesuffix(" degrees") if "degrees" in setup else "180"
            means = [f"{value:.2f}" for value in _short_means(setup + noise)]
            rows.append([f"{views} over {arc}°", COLUMNS * views, what, *means])
    headers = ("views", "line integrals a slice, for 16384 pixels", "projections")
    return table((*headers, "FBP", "ADMM-TV", PLUS_PLUS), rows)


TABLES: dict[str, Callable[[], str]] = {
    "partitions": partitions,
    "fewer-steps": fewer_steps,
    "learning-curve-256": learning_curve_256,
    "data-consistency": data_consistency,
    "data-consistency-256": of_fine_pixels,
    "details": details,
    "presets": presets,
    "sizes": sizes,
    "int8-quality": int8_quality,
    "readme": readme,
    "choosing-views": choosing_views,
}
