"""Methods that sample a diffusion prior, and what they share."""
