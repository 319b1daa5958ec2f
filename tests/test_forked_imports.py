"""A process that is forked while another thread imports a public name for the first time."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW_MODULE = """
import pathlib, time
pathlib.Path(__file__).with_name("begun").touch()
time.sleep(1)
value = 5
"""
FORKED = """
import os, pathlib, signal, threading, time
import slowly

thread = threading.Thread(target=lambda: slowly.value)
thread.start()
while not (pathlib.Path(slowly.__file__).with_name("begun")).exists():
    time.sleep(0.001)
forked = os.fork()
if not forked:
    signal.alarm(30)
    os._exit(slowly.value)
thread.join()
os._exit(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a system without fork")
def test_a_fork_waits_for_imports_that_another_thread_is_within(tmp_path):
    """Python leaves the lock of a module that is being imported locked in the forked process."""
    package = tmp_path / "slowly"
    package.mkdir()
    (package / "__init__.pyi").write_text("from .inner import value as value\n")
    (package / "__init__.py").write_text(
        "from diffusionblend.public_names import attach\n"
        "__getattr__, __dir__, __all__ = attach(__name__, __file__)\n"
    )
    (package / "inner.py").write_text(SLOW_MODULE)
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, *{sys.path!r}]\n{FORKED}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=240)
    assert done.returncode == 5
