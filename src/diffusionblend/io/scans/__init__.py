"""Measured scans, read from the formats of the field."""
