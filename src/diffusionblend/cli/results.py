"""The results of `run` as a picture and a page, scored where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.cli.common import add_input, recorded, shown, timed_part
from diffusionblend.runs.record import RunRecord, plain_record, read_run_record, run_record_path

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume
    from diffusionblend.evaluation.metrics import Evaluation

PICTURE, REPORT = "picture.png", "report.html"
TRUTH = "reference"


def show_results(
    record: RunRecord, files: Mapping[str, Path], scan_file: Path, output: Path, *, force: bool
) -> None:
    """Write the picture and the page on volumes by name, and the record; print the scores.

    The volume named "reference" is the truth; the last one is what was asked for.
    """
    with timed_part(record, "read", "results"):
        from diffusionblend.cli.tables import print_table
        from diffusionblend.evaluation.tables import METRIC_COLUMNS, evaluation_row
        from diffusionblend.io.projections import read_projections
        from diffusionblend.io.volumes import read_volume
        from diffusionblend.report.figures import save_figure, three_planes_figure
        from diffusionblend.report.html import write_report

        volumes = {name: read_volume(path, check=False) for name, path in files.items()}
        scan = read_projections(scan_file)
    for path in files.values():
        add_input(record, path)
    truth = TRUTH if TRUTH in volumes else None
    made_by = {
        name: plain_record(read_run_record(run_record_path(path)))
        for name, path in files.items()
        if name != TRUTH
    }
    scores = _evaluated(volumes, made_by)
    record.results |= {name: score.to_dict() for name, score in scores.items()}
    if scores:
        rows = [evaluation_row(name, score) for name, score in scores.items()]
        print_table(rows, METRIC_COLUMNS)
    picture, report = output / PICTURE, output / REPORT
    with recorded(record, report, picture), timed_part(record, "draw"):
        figure = three_planes_figure(volumes, truth, evaluations=scores)
        save_figure(figure, picture, force=force)
        write_report(
            report,
            title=f"{list(files)[-1]}, {len(scan)} views",
            headline=_headline(scores),
            volumes=volumes,
            reference=truth,
            evaluations=scores,
            settings={name: made["settings"] for name, made in made_by.items()},
            run_records=made_by,
            projections=scan.notes,
            simulated=scan.notes.get("source") == "simulated",
            learned=any(made["priors"] for made in made_by.values()),
            force=force,
        )


def _evaluated(volumes: Mapping[str, Volume], made_by: Mapping[str, dict]) -> dict[str, Evaluation]:
    """The scores of every volume but the truth; none without one."""
    from diffusionblend.evaluation.metrics import evaluate

    scores = {}
    for name in made_by if TRUTH in volumes else ():
        with shown(f"evaluate {name}") as on_step:
            scores[name] = evaluate(
                volumes[name],
                volumes[TRUTH],
                relative_residual=made_by[name]["results"]["relative_residual"],
                on_step=on_step,
            )
    return scores


def _headline(scores: Mapping[str, Evaluation]) -> str | None:
    """What came out, in a sentence."""
    if not scores:
        return None
    first, last = next(iter(scores)), list(scores)[-1]
    psnr = scores[last].volume_psnr_db
    more = psnr - scores[first].volume_psnr_db
    beside = f", {more:.1f} dB more than {first}" if first != last else ""
    return f"{last}: {psnr:.1f} dB over the whole volume{beside}."
