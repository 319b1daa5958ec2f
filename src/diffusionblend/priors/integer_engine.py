"""int8 by OpenVINO and NNCF: a network's graph with integer layers, and the workers that run it.

Nothing else knows the engine.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from diffusionblend.priors.precision import has_bfloat16

NAME = "OpenVINO"
PACKAGES = ("openvino", "nncf")
FLOAT_LAYERS = (
    *("conv_in/", "conv_out/", "time_embedding", "class_embedding", "time_emb_proj"),
    *("attentions", "refine", "down_blocks.0.downsamplers", "aten::add/Add"),
)
"""Parts of the names of what stays in floating point, with the sums that blocks are added up in."""
FLOAT_TYPES = (
    *("GroupNormalization", "Concat", "Interpolate", "Divide", "Multiply", "Slice", "Unsqueeze"),
)
"""What else does: NNCF would round the residual stream too, whose range is 40 times as wide at late
timesteps as at early ones. So the inputs of convolutions alone are in int8."""
SILENT = "NNCF_CI"
"""NNCF reports its use over the network unless this variable is set."""
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Blocks (1, k, H, W), timesteps (1,) and codes (1,) or (1, 3)."""


def missing() -> list[str]:
    """The packages of the engine that are not installed."""
    return [name for name in PACKAGES if util.find_spec(name) is None]


def versions() -> dict[str, str]:
    """Versions of the engine's packages, which its graphs depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def has_integer_products() -> bool:
    """Whether the processor multiplies 8-bit integers without saturating (VNNI, AMX)."""
    return torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()


def integer_graph(
    unet: torch.nn.Module, unshuffle: int, samples: Sequence[Inputs]
) -> tuple[bytes, bytes]:
    """The graph of a network with integer layers, and its constants, for blocks of any size.

    unshuffle: of its stem. samples: what the ranges of its layers' inputs are measured on.
    """
    model = _converted(unet, unshuffle, samples[0])
    with _silent():
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        nncf.set_log_level("ERROR")
        fix = nncf.OverflowFix.FIRST_LAYER if has_integer_products() else nncf.OverflowFix.ENABLE
        changed = nncf.quantize(
            model,
            nncf.Dataset([tuple(tensor.numpy() for tensor in sample) for sample in samples]),
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            ignored_scope=nncf.IgnoredScope(
                patterns=[f".*{name}.*" for name in float_layers(unet)],
                types=list(FLOAT_TYPES),
                validate=False,
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=fix,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    return _as_bytes(changed)


def float_layers(unet: Any) -> tuple[str, ...]:
    """FLOAT_LAYERS and those at the two finest levels on the way up that see the residual stream.

    With chest-128 the error of x0 at t 100 is 70.8 HU then (70.6 in float32); without them, 245 HU.
    """
    last = len(unet.up_blocks) - 1
    shortcuts = (f"up_blocks.{i}.resnets.[0-9]+.conv_shortcut" for i in (last - 1, last))
    return (*FLOAT_LAYERS, *shortcuts, f"up_blocks.{last - 1}.upsamplers")


class Workers:
    """A graph for blocks (k, H, W), run block by block on threads of its own.

    A block's result depends neither on the others nor on the number of threads. What is not in int8
    is in bfloat16 where the processor has it in hardware, else in float32.
    """

    def __init__(
        self, graph: tuple[bytes, bytes], shape: tuple[int, int, int], threads: int
    ) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(graph[0], openvino.Tensor(_array(graph[1])))
        model.reshape({0: [1, *shape]})
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16("cpu") else "f32",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._queue = openvino.AsyncInferQueue(compiled, threads)
        self._given = compiled.outputs[0].shape[1]

    def __call__(self, x: torch.Tensor, times: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """The network's raw output (B, slices, H, W) for blocks (B, k, H, W)."""
        out = torch.empty(len(x), self._given, *x.shape[2:])
        values = out.numpy()

        def keep(request: Any, place: int) -> None:
            values[place] = request.get_output_tensor().data[0]

        self._queue.set_callback(keep)
        inputs = [tensor.contiguous().numpy() for tensor in (x, times, codes)]
        for i in range(len(x)):
            self._queue.start_async([array[i : i + 1] for array in inputs], i)
        self._queue.wait_all()
        return out


class _Whole(torch.nn.Module):
    """The network from blocks to blocks, its stem of tiles included."""

    def __init__(self, unet: torch.nn.Module, unshuffle: int) -> None:
        super().__init__()
        self.unet, self.unshuffle = unet, unshuffle

    def forward(self, x: torch.Tensor, times: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        tiles = functional.pixel_unshuffle(x, self.unshuffle)
        out = self.unet(tiles, times, class_labels=codes).sample
        return functional.pixel_shuffle(out, self.unshuffle)


def _converted(unet: torch.nn.Module, unshuffle: int, sample: Inputs) -> Any:
    """The graph in float32, for blocks of any size, layers named as the network's modules.

    By a trace, since what `torch.export` gives has no such names.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(
            _Whole(unet, unshuffle).eval(), sample, check_trace=False, strict=False
        )
        front = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=sample)
        loaded = front.load(decoder)
        model = front.convert(loaded)
    x, _, codes = sample
    model.reshape({0: [1, x.shape[1], -1, -1], 1: [1], 2: list(codes.shape)})
    return model


def _as_bytes(model: Any) -> tuple[bytes, bytes]:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _array(content: bytes) -> Any:
    import numpy as np

    return np.frombuffer(content, np.uint8)


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing printed, and no use reported."""
    before = os.environ.get(SILENT)
    os.environ[SILENT] = "1"
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ[SILENT]
        else:
            os.environ[SILENT] = before
