"""The network of `--tiny`, with which the tests try the benchmarks in seconds."""

from diffusionblend.priors.config import NetworkConfig

TINY_NETWORK = NetworkConfig(
    image_size=32, unshuffle=1, channels=(8, 16), norm_groups=4, attention_head_channels=8
)
