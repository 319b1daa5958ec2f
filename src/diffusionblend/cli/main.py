"""The command line: one subcommand a verb, exit codes, and messages instead of tracebacks.

Exit codes: 0 done; 1 bad input or an output that cannot be written; 2 wrong usage; 130 stopped by
Ctrl-C; 143 by SIGTERM; 141 where nobody reads the output any more.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence

import tyro

from diffusionblend import __version__
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.cli.doctor import Doctor
from diffusionblend.cli.methods import Methods
from diffusionblend.cli.priors import Priors
from diffusionblend.cli.projections import ProjectionFiles
from diffusionblend.cli.recorded import RECORDED, Verb
from diffusionblend.cli.repeat import Repeat
from diffusionblend.errors import InputError

VERBS: dict[str, type[Verb]] = {name: RECORDED[name] for name in RECORDED if " " not in name} | {
    "projections": ProjectionFiles,
    "methods": Methods,
    "repeat": Repeat,
    "priors": Priors,
    "doctor": Doctor,
}

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM
EXIT_BROKEN_PIPE = 141
"""128 and SIGPIPE, which not all systems have."""


class Terminated(BaseException):
    """SIGTERM, as an exception, so that temporary files are removed on the way out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    keep_freed_memory()
    try:
        code = run(sys.argv[1:] if arguments is None else list(arguments))
    except SystemExit as wanted:  # of the parser, which has told help or wrong usage
        code = wanted.code
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as `head`, has had enough
        code = EXIT_BROKEN_PIPE
    if code == EXIT_BROKEN_PIPE:  # or Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; usage errors exit with 2 by themselves."""
    if list(arguments) in (["--version"], ["-V"]):
        print(f"diffusionblend {__version__}")
        return 0
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")
            warnings.showwarning = _tell_warning
            _verb(arguments).run()
    except InputError as error:
        print(f"diffusionblend: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except OSError as error:
        print(f"diffusionblend: the system reports: {error}", file=sys.stderr)
        return InputError.exit_code
    except KeyboardInterrupt:
        print("diffusionblend: interrupted; no half-written file is left", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated:
        print("diffusionblend: terminated; no half-written file is left", file=sys.stderr)
        return EXIT_TERMINATED
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _verb(arguments: Sequence[str]) -> Verb:
    """The verb that the arguments name, with its options; the settings check themselves."""
    return tyro.extras.subcommand_cli_from_dict(
        VERBS,
        args=arguments,
        prog="diffusionblend",
        description="3D CT volumes from few or limited-angle projections, with a diffusion prior.",
    )


def _tell_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one plain line, in place of Python's with the line of source that gave it."""
    print(f"diffusionblend: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


if __name__ == "__main__":
    main()
