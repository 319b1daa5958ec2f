"""Tables of image quality: DiffusionBlend++ beside FBP and ADMM-TV, presets, partitions, steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from row_files import Row, by_planes, json_of, only, psnr, rows_of, seconds, ssim, table

SCANS = {
    "8": "8 views",
    "6": "6 views",
    "4": "4 views",
    "90deg": "90 views over 90°",
}
PLUS_PLUS = "DiffusionBlend++"
WEIGHTS = ("0.125", "0.25", "0.5", "1", "2", "4", "8")
QUALITY = (
    "scan",
    "method",
    "PSNR (dB), axial / coronal / sagittal",
    "volume",
    "gain over ADMM-TV, axial / coronal / sagittal / volume",
    "SSIM, axial / coronal / sagittal",
    "seconds",
    "network evaluations",
)


def _gain(row: Row, baseline: Row) -> str:
    keys = ("psnr_axial_db", "psnr_coronal_db", "psnr_sagittal_db", "psnr_volume_db")
    return " / ".join(f"{row[key] - baseline[key]:+.2f}" for key in keys)


def _quality_row(scan: str, label: str, row: Row, baseline: Row | None) -> list[object]:
    gain = "" if baseline is None else _gain(row, baseline)
    volume = f"{row['psnr_volume_db']:.2f}"
    evaluations = row["network_calls"]
    return [
        SCANS[scan],
        label,
        psnr(row),
        volume,
        gain,
        ssim(row),
        seconds(row["seconds"]),
        evaluations,
    ]


def _quality(classical: list[Row], presets: dict[str, list[Row]]) -> str:
    rows = []
    for scan in SCANS:
        baseline = only(classical, setting=scan, method="ADMM-TV")
        fbp = only(classical, setting=scan, method="FBP")
        rows.append(_quality_row(scan, "FBP", fbp, None))
        rows.append(_quality_row(scan, "ADMM-TV", baseline, None))
        for preset, found in presets.items():
            row = only(found, setting=scan)
            rows.append(_quality_row(scan, f"{PLUS_PLUS}, `{preset}`", row, baseline))
    return table(QUALITY, rows)


def quality_128() -> str:
    """FBP, ADMM-TV and the three presets at 128 x 128."""
    stored = rows_of("sparse_view.jsonl")
    short = rows_of("sparse_view_presets.jsonl")
    presets = {name: [row for row in short if row["preset"] == name] for name in _SHORT}
    presets["best"] = [row for row in stored if row["method"] == PLUS_PLUS]
    return _quality(stored, presets)


def quality_256() -> str:
    """FBP, ADMM-TV and the three presets at 256 x 256."""
    stored = rows_of("sparse_view_256.jsonl")
    presets = {
        name: [row for row in stored if row.get("preset") == name and row["method"] == PLUS_PLUS]
        for name in (*_SHORT, "best")
    }
    return _quality(stored, presets)


_SHORT = ("fast", "balanced")


def _from_noise(file: str) -> str:
    rows = []
    for preset in _SHORT:
        found = [row for row in rows_of(file) if row["preset"] == preset]
        values = [only(found, setting=scan) for scan in SCANS]
        rows.append(
            [
                f"`{preset}`",
                *(f"{row['psnr_axial_db']:.2f} / {row['psnr_volume_db']:.2f}" for row in values),
            ]
        )
    return table(("preset", *SCANS.values()), rows)


def from_noise_128() -> str:
    """The short presets with their steps from noise, 128 x 128."""
    return _from_noise("sparse_view_presets_from_noise.jsonl")


def from_noise_256() -> str:
    """The short presets with their coarse steps from noise, 256 x 256."""
    return _from_noise("sparse_view_256_from_noise.jsonl")


def two_seeds() -> str:
    """Two seeds and their mean at 4 views."""
    rows = [
        [
            row["method"].removeprefix(f"{PLUS_PLUS}, "),
            psnr(row),
            f"{row['psnr_volume_db']:.2f}",
            f"{row['ssim_axial']:.3f}",
            seconds(row["seconds"]),
            row["network_calls"],
        ]
        for row in rows_of("sparse_view_4_views_two_seeds.jsonl")
    ]
    headers = ("4 views, `best`", QUALITY[2], "volume", "SSIM axial", *QUALITY[6:])
    return table(headers, rows)


def details_128() -> str:
    """Smoothness, residual, bias and the network's share of the time, 128 x 128."""
    rows = []
    for scan, label in SCANS.items():
        for method in ("FBP", "ADMM-TV", PLUS_PLUS):
            row = only(rows_of("sparse_view.jsonl"), setting=scan, method=method)
            bias = [row[f"bias_{tissue}_hu"] for tissue in ("lung", "soft_tissue", "bone")]
            rows.append(
                [
                    label,
                    method + (", `best`" if method == PLUS_PLUS else ""),
                    f"{row['tv_z_ratio']:.2f}",
                    f"{row['relative_residual']:.1e}",
                    f"{row['mean_absolute_error_hu']:.1f}",
                    " / ".join(f"{value:+.1f}" for value in bias),
                    f"{row['network_share']:.2f}",
                ]
            )
    headers = (
        "scan",
        "method",
        "TV along z over the reference's",
        "relative residual",
        "MAE (HU)",
        "bias in lung and air / soft tissue / bone (HU)",
        "network's share of the time",
    )
    return table(headers, rows)


def _weights(file: str) -> str:
    tuned = json_of(file)
    rows = [
        [
            label,
            *(f"{tuned[scan]['volume_psnr_db'][weight]:.2f}" for weight in WEIGHTS),
            f"{tuned[scan]['weight']:g}",
        ]
        for scan, label in SCANS.items()
    ]
    return table(("scan", *WEIGHTS, "chosen"), rows)


def weights_128() -> str:
    """The search for ADMM-TV's weight, 128 x 128."""
    return _weights("sparse_view_tuned.json")


def weights_256() -> str:
    """The search for ADMM-TV's weight, 256 x 256."""
    return _weights("sparse_view_256_tuned.json")


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
    headers = ("views", "partition", QUALITY[2], "volume", "SSIM axial")
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
    headers = ("training steps", "blocks", QUALITY[2], "volume", QUALITY[5])
    return table(headers, rows)


STEPS_FILE = "data_consistency.jsonl"
"""Rows of benchmarks/quality/data-consistency.toml."""
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


def _by_scan(setups: Sequence[str], labels: Sequence[str]) -> str:
    stored = rows_of(STEPS_FILE)
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
    "quality-128": quality_128,
    "quality-256": quality_256,
    "from-noise-128": from_noise_128,
    "from-noise-256": from_noise_256,
    "two-seeds": two_seeds,
    "details-128": details_128,
    "weights-128": weights_128,
    "weights-256": weights_256,
    "partitions": partitions,
    "fewer-steps": fewer_steps,
    "learning-curve-256": learning_curve_256,
    "data-consistency": data_consistency,
    "details": details,
    "presets": presets,
    "sizes": sizes,
    "int8-quality": int8_quality,
    "readme": readme,
    "choosing-views": choosing_views,
}
