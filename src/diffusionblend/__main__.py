"""`python -m diffusionblend` and the command `diffusionblend`: the command line.

Importing it takes a moment; Ctrl-C within it ends the program as quietly as later.
"""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from diffusionblend.cli.streams import open_closed_streams

        open_closed_streams()
        from diffusionblend.cli.main import main as run_and_exit

        run_and_exit()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
