"""Settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from diffusionblend.errors import InputError
from diffusionblend.priors.config import NetworkConfig

FULL_TURN_DEGREES = 360.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training blocks are varied."""

    mirror_x: float = 0.5
    """Fraction of blocks mirrored left to right."""
    mirror_y: float = 0.1
    """Fraction of blocks mirrored front to back."""
    reverse_z: float = 0.5
    """Fraction of blocks whose slices are taken in reverse order."""
    moved: float = 0.5
    """Fraction of blocks rotated, zoomed and shifted."""
    rotation_degrees: float = 6.0
    """Largest rotation in either direction, in degrees."""
    log_zoom: float = 0.14
    """Largest natural logarithm of the zoom in either direction; 0.14 is 15 percent."""
    shift: float = 0.06
    """Largest shift along x and y, as a fraction of the width."""
    log_stretch: float = 0.0
    """Largest natural logarithm of the stretch of a moved block along x against y, in either
    direction; 0 for none."""
    warp: float = 0.0
    """Largest displacement of a moved block at the 4 x 4 nodes of a smooth random field, along x
    and y, as a fraction of the width; 0 for none."""
    noise_hu: float = 0.0
    """Standard deviation of white noise added to each block, in HU; 0 for none."""

    def __post_init__(self) -> None:
        shares = (self.mirror_x, self.mirror_y, self.reverse_z, self.moved)
        if not all(0 <= share <= 1 for share in shares):
            raise InputError(f"The augmentation is {self}.", "shares from 0 to 1")
        sizes = [self.rotation_degrees, self.log_zoom, self.shift, self.noise_hu]
        sizes += [self.log_stretch, self.warp]
        if not all(0 <= size < math.inf for size in sizes):
            raise InputError(f"The augmentation is {self}.", "sizes not below 0")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a training run does; written beside the weights."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Size of the network."""
    steps: int = 10_000
    """Total number of optimiser steps."""
    predict: Literal["v", "eps"] = "v"
    """What the network predicts: v, or the noise; fbp-unet always predicts the residual."""
    views: int = 8
    """Number of views of the scans whose FBP an fbp-unet learns to restore."""
    arc_degrees: float = 180.0
    """Arc that these views cover, in degrees."""
    any_scan: bool = False
    """Train an fbp-unet for scans of 3 to 180 views over 45 to 180 degrees, drawn for every slice;
    views and arc are inputs of the network."""
    loss_weighting: Literal["none", "min-snr"] = "none"
    """Weighting of the noise levels: none, or by min(SNR, 5) as Hang et al. 2023."""
    code: Literal["slices", "mm"] = "slices"
    """Unit of the positional embedding, the distance between a block's slices: slices or mm."""
    batch_size: int = 8
    """Blocks per step, over all processes together."""
    multi_size: bool = False
    """Train on blocks of every pixel size and slice spacing, whole slices and crops, which needs
    length_codes. Batches have as many pixels as batch_size blocks of the image size."""
    source_size: int = 256
    """Pixels along a side of the prepared volumes' slices, with multi_size; otherwise they have the
    image size."""
    accumulate: int = 1
    """Number of parts in which a process computes its batch, to save memory; the result is the
    same."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW alone; or Muon on the wide convolutions and AdamW on the rest."""
    learning_rate: float = 4e-4
    """Learning rate of AdamW after the warm-up."""
    muon_learning_rate: float = 5e-4
    """Learning rate of Muon after the warm-up; it follows the same schedule as that of AdamW."""
    warmup_steps: int = 300
    """Steps of the warm-up, over which the learning rate rises from zero."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Decay of the learning rate: linear over the last steps, along half a cosine after the
    warm-up, or none."""
    decay_steps: int = 2_000
    """Number of last steps over which a linear schedule falls to zero."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    gradient_clip: float = 1.0
    """Norm to which larger gradients are scaled down."""
    ema_decay: float = 0.999
    """Largest decay of the moving average of the weights; the averaged weights are the ones
    kept."""
    average_shares: tuple[float, ...] = ()
    """Further averages of the weights, each over about this fraction of the steps so far, such as
    0.1 or 0.25, and kept as a prior in the output's folder 'averages'."""
    low_noise_share: float = 0.0
    """Fraction of the timesteps drawn below 350, where sampling takes place after an initialisation
    by an image; the others are drawn from all timesteps."""
    taught_from: int = 450
    """With teachers, the first timestep at which the network learns their answers."""
    strides: tuple[int, ...] = (1, 1, 2, 3, 3)
    """Distances between the slices of a joint block, in slices, drawn with equal probability;
    repeat one to draw it more often. Other prior types use neighbouring slices."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How blocks are varied."""
    synthetic_volumes: int = 0
    """Number of procedural chests added to the data; 0 for none."""
    synthetic_share: float = 0.12
    """Fraction of blocks drawn from procedural chests if there are any, 0 to 1."""
    validate_every: int = 500
    """Steps between validation losses."""
    samples_every: int = 0
    """Number of validations between pictures of samples from the prior; 0 for none."""
    keep_every: int = 0
    """Number of validations between priors kept in the output's folder 'steps', for a learning
    curve; with 0 only the last is kept."""
    checkpoint_minutes: float = 3.0
    """Minutes between checkpoints."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the network's arithmetic; auto is bfloat16 if the processor or GPU has it in
    hardware, else float32. Weights and optimiser stay in float32."""
    seed: int = 0
    """Random seed. It and the step determine every batch, so that a resumed run ends with the same
    weights."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.validate_every) < 1:
            raise InputError(
                f"steps, batch_size and validate_every are {self.steps}, {self.batch_size} and "
                f"{self.validate_every}.",
                "at least 1 each",
            )
        if not 0 <= self.synthetic_share < 1 or self.synthetic_volumes < 0:
            raise InputError(
                f"Asked for {self.synthetic_volumes} synthetic volumes, a share of "
                f"{self.synthetic_share} of the blocks.",
                "0 or more volumes, and a share from 0 to below 1",
            )
        if not 1 <= self.accumulate <= self.batch_size:
            raise InputError(
                f"accumulate is {self.accumulate}.", f"1 to the {self.batch_size} blocks of a batch"
            )
        if min(self.samples_every, self.keep_every) < 0 or not self.checkpoint_minutes >= 0:
            raise InputError(
                f"samples_every is {self.samples_every}, keep_every {self.keep_every} and "
                f"checkpoint_minutes {self.checkpoint_minutes}.",
                "0 or more each",
            )
        if self.views < 1 or not 0 < self.arc_degrees <= FULL_TURN_DEGREES:
            raise InputError(
                f"Asked for {self.views} views over {self.arc_degrees} degrees.",
                "at least one view, and an arc above 0 and up to 360 degrees",
            )
        shares = self.average_shares
        if not all(0 < share <= 1 for share in shares) or len(set(shares)) < len(shares):
            raise InputError(
                f"average_shares are {shares}.", "different numbers above 0 and up to 1"
            )
        if not 0 <= self.low_noise_share < 1 or not self.muon_learning_rate > 0:
            raise InputError(
                f"low_noise_share is {self.low_noise_share} and muon_learning_rate "
                f"{self.muon_learning_rate}.",
                "a share from 0 to below 1, and a learning rate above 0",
            )
        self._check_prior_type()
        self._check_sizes()
        if not self.strides or min(self.strides) < 1:
            raise InputError(f"strides are {self.strides}.", "one or more whole numbers from 1")

    def _check_prior_type(self) -> None:
        kind = self.network.type
        if self.samples_every and not kind.samples_by_itself:
            raise InputError(
                f"Pictures of samples were asked for with the prior type {kind.name}.",
                "a prior type that samples blocks by itself, such as joint, slices or coronal",
                "--samples-every 0",
            )
        if kind.is_diffusion and self.any_scan:
            raise InputError(
                f"Any scan was asked for with the prior type {kind.name}, which sees no scans.",
                "the prior type fbp-unet",
                "--prior-type fbp-unet",
            )
        if not kind.is_diffusion and self.loss_weighting != "none":
            raise InputError(
                f"The prior type {kind.name} was given the loss weighting {self.loss_weighting}.",
                "none, since there are no noise levels",
                "--loss-weighting none",
            )

    def _check_sizes(self) -> None:
        if not self.multi_size:
            return
        network, source = self.network, self.source_size
        if not network.length_codes:
            raise InputError(
                "Blocks of every pixel size were requested; lengths are no inputs of the network.",
                "a network with length codes",
                "--network.length-codes 32",
            )
        if source < network.image_size or source % network.pixel_multiple:
            raise InputError(
                f"source_size is {source}.",
                f"at least the image size, {network.image_size}, and a multiple of "
                f"{network.pixel_multiple}",
            )
        if self.code != "slices":
            raise InputError(
                "Blocks of every pixel size were asked for with a position code in mm.",
                "the code slices, since the slice spacing is an input of its own",
            )
        if not network.type.is_axial or not network.type.is_diffusion:
            raise InputError(
                "Blocks of every pixel size were asked for with the prior type "
                f"{network.type.name}.",
                "a diffusion prior of axial slices, such as joint or slices",
            )

    @property
    def volume_size(self) -> int:
        """Pixels of a square slice of the volumes made ready."""
        return self.source_size if self.multi_size else self.network.image_size

    @property
    def prediction(self) -> str:
        """What the network's output is: "v", "eps", or "residual" where an FBP is restored."""
        return self.network.type.prediction(self.predict)

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, then the schedule's fall to zero at the end.

        A short run warms up over at most a tenth of its steps and decays linearly over at most
        half. The cosine is that of Loshchilov and Hutter (2017, Eq. 5), without restarts.
        """
        warmup = min(self.warmup_steps, self.steps // 10)
        rise = min(1.0, (step + 1) / max(1, warmup))
        return self.learning_rate * rise * max(0.0, self._fall(step, warmup))

    def _fall(self, step: int, warmup: int) -> float:
        """What the schedule leaves of the learning rate at a step, from 1 to 0."""
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "cosine":
            share = (step - warmup) / max(1, self.steps - warmup)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))
        decay = min(self.decay_steps, self.steps // 2)
        return min(1.0, (self.steps - step) / max(1, decay))
