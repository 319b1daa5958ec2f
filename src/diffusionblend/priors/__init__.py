"""Diffusion priors: noise schedule, network, partitions, position code; they know no operator."""
