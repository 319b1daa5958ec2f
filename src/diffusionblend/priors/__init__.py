"""Diffusion priors: noise schedule, network, partitions and position code. They know no operator."""
