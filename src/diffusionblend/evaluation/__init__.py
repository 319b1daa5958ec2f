"""How good a volume is: metrics against a reference, tables, figures, one HTML report."""
