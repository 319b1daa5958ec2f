"""Tables of speed, memory, robustness, measured scans and training choices."""

from __future__ import annotations

import re
from collections.abc import Callable

from row_files import Row, json_of, only, psnr, rows_of, seconds, ssim, table


def step_parts() -> str:
    """What a reverse step is made of."""
    names = {"consistency": "data consistency"}
    rows = []
    for part in _sampling()["parts"]:
        span = f"({part['lowest']:.2f}, {part['highest']:.2f})"
        share = f"{part['share_percent']:.1f}"
        name = names.get(part["part"], part["part"])
        rows.append([name, f"{part['seconds']:.2f} {span}", share])
    return table(("part", "seconds (lowest, highest)", "share (%)"), rows)


def _sampling() -> Row:
    (found,) = (row for row in rows_of("sampling.jsonl") if row["kind"] == "sampling")
    return found


def step_loops() -> str:
    """This loop against the published one."""
    rows = [
        [
            loop["loop"],
            f"{loop['seconds']:.2f} ({loop['lowest']:.2f}, {loop['highest']:.2f})",
            f"{loop['network']:.2f}",
            f"{loop['consistency']:.2f}",
        ]
        for loop in _sampling()["loops"]
    ]
    headers = ("loop", "seconds a step (lowest, highest)", "network", "data consistency")
    return table(headers, rows)


def number_formats() -> str:
    """What a block costs in each number format, by pixels and threads."""
    by_place: dict[tuple[int, int], dict[str, Row]] = {}
    for row in rows_of("precisions.jsonl"):
        place = row["pixels"], row["machine"]["threads"]
        by_place.setdefault(place, {})[row["precision"]] = row
    formats = ("float32", "bfloat16", "int8")
    rows = [
        [
            f"{pixels} x {pixels}",
            threads,
            *(f"{found[name]['milliseconds']:.0f}" for name in formats),
            f"{found['int8']['times_faster']:.1f}",
            f"{found['bfloat16']['milliseconds'] / found['int8']['milliseconds']:.1f}",
        ]
        for (pixels, threads), found in sorted(by_place.items())
    ]
    headers = ("slices", "threads", *(f"{name} (ms a block)" for name in formats))
    return table((*headers, "times faster than float32", "than bfloat16"), rows)


def convolution_rates() -> str:
    """Rates of the network and of plain convolutions of its widths."""
    rows = [
        [rate["what"], f"{rate['gflop_per_s']:.0f}", _percent(rate.get("network_share_percent"))]
        for rate in _sampling()["rates"]
    ]
    return table(("what", "GFLOP/s", "the network's rate over it (%)"), rows)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def step_scaling() -> str:
    """A step against the number of slices."""
    (run,) = (row for row in rows_of("sampling.jsonl") if row["kind"] == "scaling")
    rows = [
        [
            row["slices"],
            f"{row['blocks_a_step']:.1f}",
            f"{row['step_seconds']:.3f} ({row['lowest']:.3f}, {row['highest']:.3f})",
            f"{row['peak_mb']:.0f}",
        ]
        for row in run["rows"]
    ]
    headers = ("slices", "blocks a step", "seconds a step (lowest, highest)", "peak memory (MB)")
    return table(headers, rows)


def killed() -> str:
    """Runs killed and resumed."""
    rows = []
    for what in ("training", "reconstruction"):
        runs = [row for row in rows_of("kill.jsonl") if row["what"] == what]
        times = [row["killed_s"] for row in runs]
        steps = [int(re.findall(r"step (\d+)", row["went_on"])[0]) for row in runs]
        equal = sum(row["equal"] == "yes" for row in runs)
        rows.append(
            [
                what,
                len(runs),
                f"{min(times):.1f} to {max(times):.1f}",
                f"{min(steps)} to {max(steps)}",
                equal,
            ]
        )
    headers = ("run", "times killed", "after seconds", "resumed at step", "results bit-identical")
    return table(headers, rows)


def killed_commands() -> str:
    """Runs of every command, killed and given again."""
    keys = ("killed", "ended_before", "went_on", "equal", "leftovers")
    rows = [
        [row["command"], f"{row['whole_s']:.2f}", *(row[key] for key in keys)]
        for row in rows_of("kill_commands.jsonl")
    ]
    rows.append(["all", "", *(sum(row[i + 2] for row in rows) for i in range(len(keys)))])
    headers = ("run", "undisturbed (s)", *(key.replace("_", " ") for key in keys))
    return table(headers, rows)


def damaged() -> str:
    """Files of every format, damaged and read."""
    keys = ("cases", "refused", "same", "other", "failed")
    rows = [[row["format"], *(row[key] for key in keys)] for row in rows_of("damage.jsonl")]
    rows.append(["all", *(sum(row[i + 1] for row in rows) for i in range(len(keys)))])
    return table(("format", *keys), rows)


def child_process() -> str:
    """Files read in the program's own process and by a child."""
    keys = ("own_s", "child_s", "price_s", "allowed_s")
    rows = [
        [
            row["file"],
            f"{row['megabytes']:.0f}",
            row["read"],
            *(f"{row[key]:.2f}" if key in row else "" for key in keys),
        ]
        for row in rows_of("child_process.jsonl")
    ]
    headers = ("file", "MB", "read", "own process (s)", "child (s)", "price (s)", "allowed (s)")
    return table(headers, rows)


def planned_runs() -> str:
    """Announced against actual time and memory, every run."""
    rows = [
        [
            row["run"],
            row["date"][11:16],
            f"{row['planned_seconds']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['seconds_ratio']:.2f}",
            f"{row['planned_mb']:.0f}",
            f"{row['mb']:.0f}",
            f"{row['mb_ratio']:.2f}",
        ]
        for row in rows_of("planned_runs.jsonl")
    ]
    headers = ("run", "began (UTC)", "announced (s)", "actual (s)", "ratio")
    return table((*headers, "announced (MB)", "actual (MB)", "ratio"), rows)


def new_user() -> str:
    """The steps of a new user."""
    (row,) = rows_of("new_user.jsonl")
    return table(
        ("step", "seconds"), [[step["step"], f"{step['seconds']:.1f}"] for step in row["steps"]]
    )


def network_choices() -> str:
    """Networks trained for the same minutes."""
    rows = [
        [
            row["choice"],
            f"{row['parameters_million']:.2f}",
            row["steps"],
            f"{row['ms_a_block']:.1f}",
            f"{row['validation_loss']:.3f}",
            f"{row['validation_eps_loss']:.3f}",
        ]
        for row in rows_of("network_choices.jsonl")
    ]
    headers = ("choice", "parameters (M)", "steps", "ms a block, training")
    return table((*headers, "validation loss", "validation loss of eps"), rows)


def axis() -> str:
    """Centre of rotation and sharpness beside it."""
    offsets = ("-2", "-1", "+0", "+1", "+2")
    rows = []
    for scan in ("savu", "tooth"):
        row = only(rows_of("measured.jsonl"), kind="axis", scan=scan)
        found = [f"{row[key]:.2f}" for key in ("centre_column", "pair_column", "mass_column")]
        rows.append([scan, *found, *(f"{row[f'sharpness_{offset}']:.3f}" for offset in offsets)])
    headers = ("scan", "found", "opposite views alone", "centre of mass alone")
    sharpness = ("sharpness 2 columns before", "1 before", "at it", "1 after", "2 after")
    return table((*headers, *sharpness), rows)


def capsule() -> str:
    """12 of 91 measured views against FBP of all."""
    rows = [
        [
            row["method"],
            psnr(row),
            f"{row['psnr_volume_db']:.2f}",
            ssim(row),
            f"{row['relative_residual']:.4f}",
            seconds(row["seconds"]),
        ]
        for row in rows_of("measured.jsonl")
        if row["scan"] == "savu" and "psnr_volume_db" in row
    ]
    headers = ("method", "PSNR (dB), axial / coronal / sagittal", "volume")
    more = ("SSIM, axial / coronal / sagittal", "relative residual", "seconds")
    return table((*headers, *more), rows)


def discs() -> str:
    """Scores of the discs of the Helsinki Tomography Challenge."""
    stored = [row for row in rows_of("measured.jsonl") if row["kind"] == "disc"]
    tuned = json_of("measured_tuned.json")
    rows = []
    for scan in ("01a", "04b", "07c"):
        mine = [row for row in stored if row["scan"] == scan]
        arc = only(mine, label="admm-tv")["arc_degrees"]
        line: list[object] = [scan, arc, f"{only(mine, label='full')['correlation']:.5f}"]
        line.append(f"{only(mine, label='fbp')['matthews']:.4f}")
        for label in ("admm-tv", "admm-tv bounded"):
            chosen = tuned[str(arc)][label]
            line.append(f"{only(mine, label=label)['matthews']:.4f}")
            line.append(f"{chosen['weight']:g}, {chosen['threshold_per_mm']:g}")
        rows.append(line)
    chosen_header = "weight, threshold (1/mm)"
    headers = ("disc", "arc (°)", "correlation, FBP of the full scan", "FBP of the arc")
    more = ("ADMM-TV of the arc", chosen_header, "with an upper bound", chosen_header)
    return table((*headers, *more), rows)


def discs_tuning() -> str:
    """Mean score of the training objects by weight."""
    weights = ("0.06", "0.25", "1.0", "4.0", "16.0")
    rows = []
    for arc, tuned in json_of("measured_tuned.json").items():
        fbp = tuned["fbp"]["training_matthews_by_weight"]["None"]
        for label, suffix, first in (
            ("admm-tv", "", f"{fbp:.4f}"),
            ("admm-tv bounded", ", with an upper bound", ""),
        ):
            scores = tuned[label]["training_matthews_by_weight"]
            rows.append([f"{arc}°{suffix}", first, *(f"{scores[w]:.4f}" for w in weights)])
    return table(("arc", "FBP", *(f"{float(weight):g}" for weight in weights)), rows)


FBP_FORMATS = {"fbp_s": ".1f", "mean_error": ".2f", "deviation": ".2f"}


def _projectors() -> Row:
    return only(rows_of("projectors.jsonl"), kind="projectors")


def projectors() -> str:
    """Projectors against itk-rtk and ASTRA."""
    run = _projectors()
    return _timed_projectors([*run["parallel"], *run["cone"]])


def projectors_helix() -> str:
    """Projectors of a helix against itk-rtk."""
    return _timed_projectors(only(rows_of("projectors_helix.jsonl"), kind="projectors")["helix"])


def projectors_helix_fbp() -> str:
    """Filtered back-projection of a helix."""
    run = only(rows_of("projectors_helix.jsonl"), kind="projectors")
    rows = [
        [row["case"], *(f"{row[k]:{f}}" for k, f in FBP_FORMATS.items())]
        for row in run["helix_fbp"]
    ]
    errors = ("error of a ball's core, mean (%)", "standard deviation there (%)")
    return table(("case", "filtered back-projection (s)", *errors), rows)


def _timed_projectors(found: list[Row]) -> str:
    """Seconds, ratios and errors of projectors."""
    rows = [
        [
            row["case"],
            row["name"],
            f"{row['prepare_s']:.2f}" if row["name"].startswith("diffusionblend") else "–",
            *(f"{row[f'{part}_s']:.4f}" for part in ("forward", "back", "pair")),
            *(f"{row[f'{part}_ratio']:.1f}" for part in ("forward", "back", "pair")),
            f"{row['phantom_error']:.2f}",
            row["adjoint_error"],
        ]
        for row in found
    ]
    times = ("prepare (s)", "forward (s)", "back (s)", "both (s)")
    ratios = ("forward over ours", "back over ours", "both over ours")
    errors = ("error of a phantom's line integrals (%)", "adjoint error")
    return table(("case", "projector", *times, *ratios, *errors), rows)


def projectors_prox() -> str:
    """The exact proximal step against five CG iterations."""
    rows = [
        [
            row["case"],
            f"{row['prepare_s']:.2f}",
            f"{row['prox_s']:.4f}",
            f"{row['cg_s']:.4f}",
            f"{row['data_cg_s']:.4f}",
            f"{row['times_faster']:.1f}",
            f"{row['times_data_cg']:.1f}",
        ]
        for row in _projectors()["prox"]
    ]
    headers = ("case", "prox: factorisation (s)", "prox (s)", "5 CG, volume space (s)")
    more = ("5 CG, data space (s)", "CG in volume space over prox", "CG in data space over prox")
    return table((*headers, *more), rows)


def projectors_bars() -> str:
    """Targets and whether they were met."""
    rows = [
        [row["bar"], f"{row['wanted']:g}", f"{row['found']:.1f}", row["met"]]
        for row in _projectors()["bars"]
    ]
    return table(("target: times faster than", "wanted", "found", "met"), rows)


def projectors_growth() -> str:
    """Time and memory by the size of the slices."""
    run = only(rows_of("projectors.jsonl"), kind="growth")
    rows = [
        [
            row["name"],
            row["pixels"],
            f"{row['prepare_s']:.3f}",
            f"{row['forward_s']:.4f}",
            f"{row['back_s']:.4f}",
            f"{row['held_mb']:.1f}",
            f"{row['peak_mb']:.1f}",
        ]
        for row in run["growth"]
    ]
    headers = ("projector", "pixels a side", "prepare (s)", "forward (s)", "back (s)")
    return table((*headers, "kept (MB)", "peak (MB)"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "step-parts": step_parts,
    "step-loops": step_loops,
    "step-scaling": step_scaling,
    "convolution-rates": convolution_rates,
    "number-formats": number_formats,
    "killed": killed,
    "killed-commands": killed_commands,
    "damaged": damaged,
    "child-process": child_process,
    "planned-runs": planned_runs,
    "new-user": new_user,
    "network-choices": network_choices,
    "axis": axis,
    "capsule": capsule,
    "discs": discs,
    "discs-tuning": discs_tuning,
    "projectors": projectors,
    "projectors-helix": projectors_helix,
    "projectors-helix-fbp": projectors_helix_fbp,
    "projectors-prox": projectors_prox,
    "projectors-bars": projectors_bars,
    "projectors-growth": projectors_growth,
}
