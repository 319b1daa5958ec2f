"""Ctrl-C and SIGTERM between two steps keep the state; the same command continues."""

from __future__ import annotations

import os
import re
import signal
import time
import weakref

import numpy as np
import pytest

from command_line import assert_succeeded, working_process
from diffusionblend.cli.main import _terminate
from diffusionblend.cli.stopping import Terminated
from diffusionblend.io.volumes import read_volume
from diffusionblend.runs.state_file import state_path

STEPS = 200


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_stopped_run_keeps_its_state_and_continues(
    cli, tmp_path, scan_file, tiny_prior, number, code
):
    output = tmp_path / "a.nii.gz"
    options = ("--prior", tiny_prior, "--device", "cpu", "--steps", STEPS)
    command = ("reconstruct", scan_file, "-o", output, *options)
    with working_process(*command, at_work="diffusionblend++: 2/") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    assert "Traceback" not in err
    step, steps = re.search(r"stopped at step (\d+) of (\d+); the same command", err).groups()
    assert 2 <= int(step) < int(steps) == STEPS
    assert state_path(output).exists() and not output.exists()
    result = cli(*command)
    assert_succeeded(result)
    assert f"resuming after step {step}," in result.out
    whole = tmp_path / "whole.nii.gz"
    assert_succeeded(cli("reconstruct", scan_file, "-o", whole, *options))
    np.testing.assert_array_equal(read_volume(output).values, read_volume(whole).values)


def test_the_second_signal_stops_at_once():
    from diffusionblend.cli.stopping import stopped_between_steps

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopped_between_steps() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signal_number == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


class Thing:
    """Something that a weak reference can be to."""


def test_a_signal_within_a_callback_of_a_weak_reference_is_not_lost():
    """Python prints what such a callback raises, and goes on."""
    before, things = signal.signal(signal.SIGTERM, _terminate), [Thing()]
    weakref.finalize(things[0], os.kill, os.getpid(), signal.SIGTERM)
    try:
        with pytest.raises(Terminated):
            things.clear()
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, before)
