"""Fixtures shared by the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from command_line import CliResult, run_command
from tiny_network import TINY, random_prior

REPOSITORY = Path(__file__).resolve().parent.parent
SMALL_DISK_BYTES = 256 << 10
CHEST_SLICES = 8


def pytest_configure() -> None:
    """Where there is no GPU, Triton interprets its kernels; it settles that at its import."""
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` skip where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu") is not None:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CT data; tests that need it skip where it is absent."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("DIFFUSIONBLEND_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real CT data at {folder}; set DIFFUSIONBLEND_DATA")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB, for tests that fill it; needs root on Linux."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs could be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """Run a command line in this process: `cli("import", source, "-o", output)`."""

    def call(*arguments: object) -> CliResult:
        capsys.readouterr()
        code = run_command(*arguments)
        captured = capsys.readouterr()
        return CliResult(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior of random weights for slices of 16 x 16."""
    folder = tmp_path_factory.mktemp("priors") / "tiny"
    random_prior().save(folder)
    return folder


@pytest.fixture(scope="session")
def chest_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume file: a synthetic chest of 8 slices of 16 x 16."""
    from diffusionblend.io.volumes import write_volume
    from diffusionblend.phantom import synthetic_chest

    path = tmp_path_factory.mktemp("volumes") / "chest.nii.gz"
    write_volume(synthetic_chest(3, shape=(CHEST_SLICES, TINY.image_size, TINY.image_size)), path)
    return path


@pytest.fixture(scope="session")
def scan_file(chest_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Projections of the chest file: 6 views, noiseless."""
    path = tmp_path_factory.mktemp("scans") / "scan.h5"
    assert run_command("simulate", chest_file, "-o", path, "--views", 6) == 0
    return path
