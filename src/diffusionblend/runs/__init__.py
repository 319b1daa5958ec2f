"""A run: its record, its identity, its checkpoint."""
