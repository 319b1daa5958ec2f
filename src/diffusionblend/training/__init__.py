"""Training of a prior: data set, settings and the loop."""
