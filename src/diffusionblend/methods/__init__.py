"""Reconstruction methods: the reverse loop, consistency steps, one short file per named method."""
