"""Compiled kernels for rays, and the devices and threads they run on."""
