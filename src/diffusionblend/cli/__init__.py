"""The verbs of the command line, one dataclass each: its fields are the options, `run` does it."""
