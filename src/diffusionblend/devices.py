"""Where to compute: the devices that users name."""

from __future__ import annotations

from diffusionblend.errors import InputError
from diffusionblend.ranks import local_rank

DEVICES = ("auto", "cpu", "cuda")
NO_MPS = "PyTorch has no float64 on Apple's GPUs, which parts of the solvers need"


def choose_device(device: str) -> str:
    """The torch device of a name: "auto" is a GPU where there is one. Raises InputError.

    Under torchrun each process takes the GPU of its own number; "cuda:1" is that one.
    """
    import torch

    kind, _, number = device.partition(":")
    if kind == "mps":
        raise InputError(
            f"The device is {device!r}; {NO_MPS}.", "auto, cpu, cuda or cuda:N", "--device cpu"
        )
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"The device is {device!r}.", "auto, cpu, cuda or cuda:N")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and (not there or int(number or 0) >= there):
        raise InputError(
            f"There is no device {device!r} here: {there} CUDA devices were found.",
            "auto, cpu, or one that is there",
            "--device cpu",
        )
    if number:
        return device
    if kind == "cpu" or not there:
        return "cpu"
    rank = local_rank()
    if rank is not None and rank >= there:
        raise InputError(
            f"Process {rank} of this machine has no GPU of its own: {there} were found.",
            "a GPU for every process",
            f"'torchrun --nproc-per-node {there}'",
        )
    return "cuda" if rank is None else f"cuda:{rank}"
