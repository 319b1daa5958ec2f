"""Methods compared on volumes: grid, tuning, tables."""
