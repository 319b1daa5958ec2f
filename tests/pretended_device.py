"""A pretended GPU: tensors that say that they lie on "cuda:0" and refuse to meet those of the host.

Its tensors are ordinary ones of the host in a class of their own, so that results are those of the
CPU. What CUDA refuses is refused: an operation on tensors of both, indices of a GPU for a tensor of
the host, NumPy's view of a tensor, a generator of the host for numbers of the GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
MEMORY_BYTES = 80 << 30
MOVES = (
    *("to", "cpu", "cuda", "copy_", "__setitem__", "type_as", "swap_tensors", "module_load"),
    "_has_compatible_shallow_copy_type",
)
"""Functions that may take tensors of both, or move one from here to there."""
INDEXED = ("__getitem__", "index_select", "gather", "take_along_dim")
TO_HOST = ("numpy", "__array__")
WAITING = ("item", "tolist", "cpu", "__float__", "__int__", "__bool__", "__index__", "nonzero")
waits: list[str] = []
"""What has waited for the device until now, by its name; tests empty it."""


class Mixed(RuntimeError):
    """What CUDA would have refused."""


class OnDevice(torch.Tensor):
    """A tensor that passes for one of a GPU."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__" and args and isinstance(args[0], OnDevice):
            found = _attribute(func, args[0])
            if found is not NotImplemented:
                return found
        if name in TO_HOST:
            raise Mixed("a tensor of a GPU was to become an array")
        to_host = name == "cpu"
        if name == "to":
            args, kwargs, device = _without_device(args, kwargs)
            to_host = device is not None and device.type != "cuda"
            if len(args) == 1 and not kwargs and not to_host:
                return args[0]
        elif name not in MOVES:
            _check_together(name, args, kwargs)
        if to_host or name in WAITING:
            waits.append(name)
        if name == "cuda":
            return on_device(args[0])
        device = kwargs.get("device")
        if device is not None and name != "to":
            to_host = torch.device(device).type != "cuda"
            kwargs = kwargs | {"device": "cpu"}
        if kwargs.get("pin_memory"):
            kwargs = kwargs | {"pin_memory": False}
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
            if to_host:
                return tree_map(_copied, found)
        return tree_map(_wrapped, found)


def on_device(tensor: torch.Tensor) -> OnDevice:
    """A copy of a tensor of the host on the pretended device."""
    moved = _wrapped(tensor.clone())
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(moved, requires_grad=tensor.requires_grad)
    return moved


class MatrixOnDevice:
    """A sparse matrix on the device, which cannot be of a class of its own."""

    device, is_cuda, layout = DEVICE, True, torch.sparse_csr

    def __init__(self, held: torch.Tensor) -> None:
        self.held, self.shape, self.dtype = held, held.shape, held.dtype

    def to(self, device: object) -> MatrixOnDevice:
        """Itself."""
        assert torch.device(device).type == "cuda"
        return self

    def values(self) -> OnDevice:
        """Of the entries."""
        return _wrapped(self.held.values())

    def col_indices(self) -> OnDevice:
        """Of the entries."""
        return _wrapped(self.held.col_indices())

    def crow_indices(self) -> OnDevice:
        """Of the rows."""
        return _wrapped(self.held.crow_indices())

    def __matmul__(self, dense: torch.Tensor) -> torch.Tensor:
        if _goes_back():
            return self.held @ dense.as_subclass(torch.Tensor)
        if not isinstance(dense, OnDevice):
            raise Mixed("a matrix of a GPU met a tensor of the host")
        with torch._C.DisableTorchFunctionSubclass():
            return _wrapped(self.held @ dense.as_subclass(torch.Tensor))


class Factories(TorchFunctionMode):
    """Tensors that are made on the device, or moved there, are of it."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        ours = any(isinstance(leaf, OnDevice) for leaf in tree_leaves((args, kwargs)))
        if name == "pin_memory":
            return args[0]
        if ours or (name not in ("to", "cuda") and not _names_device(kwargs)):
            return func(*args, **kwargs)
        if name in ("to", "cuda"):
            args, kwargs, device = _without_device(args, kwargs)
            if name == "cuda" or (device is not None and device.type == "cuda"):
                rest = func(*args, **kwargs) if len(args) > 1 or kwargs else args[0]
                return on_device(rest)
            where = () if device is None else (device,)
            return func(args[0], *where, *args[1:], **kwargs)
        if kwargs.get("generator") is not None:
            raise Mixed(f"{name} on a GPU with a generator of the host")
        if name in ("autocast", "Generator"):
            return func(*args, **kwargs)
        made = func(*args, **(kwargs | {"device": "cpu"}))
        return tree_map(_wrapped, made)


@contextlib.contextmanager
def pretended_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU is there, with 80 GiB, and the kernels for it are interpreted."""
    facts = SimpleNamespace(total_memory=MEMORY_BYTES, name="Pretended", major=9, minor=0)
    event = SimpleNamespace(record=lambda *_: None, elapsed_time=lambda _: 1.0)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda *_: facts,
        "get_device_name": lambda *_: "Pretended",
        "get_device_capability": lambda *_: (9, 0),
        "mem_get_info": lambda *_: (MEMORY_BYTES // 2, MEMORY_BYTES),
        "Event": lambda **_: event,
        "current_stream": lambda *_: None,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "set_device": lambda *_: None,
        "max_memory_allocated": lambda *_: 0,
        "reset_peak_memory_stats": lambda *_: None,
        "device_of": lambda _: contextlib.nullcontext(),
        "device": lambda _: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    was = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with Factories():
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(was)


def interpreted(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Triton's launches work on the tensors that the pretended ones hold, after a look at
    where they are and whether they are contiguous.
    """
    for name in ("_launch", "_launch_slices"):
        launch = getattr(kernels, name)

        def checked(kernel: Any, *arguments: Any, _launch: Any = launch) -> None:
            for tensor in (a for a in arguments if isinstance(a, torch.Tensor)):
                if not isinstance(tensor, OnDevice) or not _held(tensor).is_contiguous():
                    raise Mixed("a kernel got a tensor of the host, or one with gaps")
            with torch._C.DisableTorchFunction():
                _launch(kernel, *map(_held, arguments))

        monkeypatch.setattr(kernels, name, checked)


def _held(value: Any) -> Any:
    """The ordinary tensor of a pretended one."""
    if not isinstance(value, OnDevice):
        return value
    with torch._C.DisableTorchFunctionSubclass():
        return value.as_subclass(torch.Tensor)


def _wrapped(value: Any) -> Any:
    """A tensor as one of the device; 0-dim and others alike."""
    if isinstance(value, torch.Tensor) and not isinstance(value, OnDevice):
        if value.layout != torch.strided:
            return MatrixOnDevice(value)
        return value.as_subclass(OnDevice)
    return value


def _attribute(func: Any, tensor: OnDevice) -> Any:
    """What an attribute that tells of the device is; NotImplemented for any other."""
    told = {
        torch.Tensor.device.__get__: DEVICE,
        torch.Tensor.is_cuda.__get__: True,
        torch.Tensor.is_cpu.__get__: False,
    }
    return told.get(func, NotImplemented)


def _names_device(kwargs: dict[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "cuda"


def _copied(value: Any) -> Any:
    """A tensor of the host with memory of its own."""
    return value.as_subclass(torch.Tensor).clone() if isinstance(value, torch.Tensor) else value


def _without_device(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], torch.device | None]:
    """The arguments of `Tensor.to` without a device, and that; another tensor tells both."""
    device = kwargs.get("device")
    kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    rest = [args[0]]
    for value in args[1:]:
        if isinstance(value, torch.Tensor):
            device = value.device
            rest.append(value.dtype)
        elif isinstance(value, torch.device | str):
            device = value
        elif not isinstance(value, bool):
            rest.append(value)
    return tuple(rest), kwargs, None if device is None else torch.device(device)


def _goes_back() -> bool:
    """Whether gradients are computed, which autograd has in ordinary tensors."""
    return bool(torch._C._current_graph_task_id() != -1)


def _check_together(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises Mixed for tensors of both; a number in a tensor may come from the host."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    with torch._C.DisableTorchFunctionSubclass():
        host = [t for t in tensors if not isinstance(t, OnDevice) and t.ndim > 0]
    if not host or len(host) == len(tensors) or _goes_back():
        return
    base_is_ours = isinstance(args[0], OnDevice)
    if name in INDEXED and base_is_ours:
        return
    raise Mixed(f"{name} got tensors of a GPU and of the host")
