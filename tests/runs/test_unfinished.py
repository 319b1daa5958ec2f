"""Outputs whose record is missing: made anew where they are ours, kept where they are not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from diffusionblend.errors import OutputWriteError
from diffusionblend.runs.record import RunRecord, run_record_path
from diffusionblend.runs.unfinished import remove_unfinished, unfinished


def killed_behind(outputs: list[Path]) -> None:
    """A process that writes the outputs and is killed before the record."""
    forked = os.fork()
    if not forked:
        with unfinished(outputs):
            for path in outputs:
                if path.suffix:
                    path.write_text("whole")
                else:
                    path.mkdir()
                    (path / "slice.dcm").write_text("whole")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(forked, 0)


def test_what_a_killed_run_left_without_a_record_is_removed(tmp_path: Path) -> None:
    output, beside = tmp_path / "a.nii.gz", tmp_path / "a.sd.nii.gz"
    (tmp_path / "other.txt").write_text("mine")
    killed_behind([beside, output])
    assert output.exists() and beside.exists()
    remove_unfinished(output)
    assert [p.name for p in tmp_path.iterdir()] == ["other.txt"]


def test_a_folder_too(tmp_path: Path) -> None:
    killed_behind([tmp_path / "series"])
    remove_unfinished(tmp_path / "series")
    assert not list(tmp_path.iterdir())


def test_a_file_of_somebody_elses_stays(tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    output.write_text("mine")
    remove_unfinished(output)
    assert output.exists()


def test_what_was_there_before_a_killed_run_stays(tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    output.write_text("mine")
    forked = os.fork()
    if not forked:
        with unfinished([output]):  # with --force, and killed before it has written anything
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(forked, 0)
    remove_unfinished(output)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_block_that_writes_nothing_leaves_no_mark(tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    output.write_text("mine")
    with pytest.raises(ValueError, match="no"), unfinished([output]):
        raise ValueError("no")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_record_that_cannot_be_written_takes_the_output_with_it(tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    with pytest.raises(OSError, match="full"), unfinished([output]):
        output.write_text("whole")
        raise OSError("full")
    assert not list(tmp_path.iterdir())


def test_a_record_of_an_older_output_goes_with_what_replaced_it(tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    output.write_text("older")
    RunRecord(command="import", settings={}).write(run_record_path(output))
    killed_behind([output])  # with --force
    remove_unfinished(output)
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_same_name_beside_the_record_stays(tmp_path: Path) -> None:
    page, output = tmp_path / "pages" / "a.html", tmp_path / "figures" / "a.json"
    for folder in (page.parent, output.parent):
        folder.mkdir()
    killed_behind([page, output])
    (output.parent / "a.html").write_text("mine")
    remove_unfinished(output)
    assert [p.name for p in output.parent.iterdir()] == ["a.html"]


def test_a_finished_output_stays(tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    killed_behind([output])
    RunRecord(command="import", settings={}).write(run_record_path(output))
    remove_unfinished(output)
    assert output.exists()


def test_no_mark_stays_behind_what_ended(tmp_path: Path) -> None:
    output = tmp_path / "new" / "a.nii.gz"
    with unfinished([output]):
        output.write_text("whole")
    assert [p.name for p in output.parent.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", ".."])
def test_a_mark_names_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "outside").write_text("mine")
    output = folder / "a.nii.gz"
    killed_behind([output])
    mark = next(p for p in folder.iterdir() if p.name.startswith("."))
    mark.write_text(f'{{"unfinished_outputs": {{"{name}": null}}}}')
    remove_unfinished(output)
    assert (tmp_path / "outside").exists() and folder.is_dir() and output.exists()


def test_a_folder_that_takes_no_mark_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputWriteError), unfinished([tmp_path / "file" / "a.nii.gz"]):
        pass
