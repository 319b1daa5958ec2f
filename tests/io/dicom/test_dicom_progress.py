"""Progress of reading a DICOM series, and stopping it."""

from __future__ import annotations

import pytest

from dicom_series import write_series
from diffusionblend.io.dicom.read import read_dicom_series


def test_progress_goes_through_headers_and_pixels(tmp_path):
    write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("seven files")
    steps = []
    read_dicom_series(tmp_path, on_step=lambda *step: steps.append(step))
    assert [total for _, total in steps] == [14] * len(steps)
    done = [step for step, _ in steps]
    assert done == sorted(done) and done[:7] == [1, 2, 3, 4, 5, 6, 7] and done[-1] == 14


@pytest.mark.parametrize("at", [2, 9])
def test_ctrl_c_in_the_middle_of_a_series_stays_ctrl_c(tmp_path, at):
    write_series(tmp_path)

    def interrupt(done, total):
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_dicom_series(tmp_path, on_step=interrupt)
