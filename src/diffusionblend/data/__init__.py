"""Values that hold arrays: volumes, projections, raw scans, reconstructions."""
