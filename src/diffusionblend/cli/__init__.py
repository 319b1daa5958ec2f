"""The commands, one dataclass each: its fields are the options, `run` does it."""
