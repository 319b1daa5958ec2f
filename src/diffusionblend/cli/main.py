"""The command line: one command a word, exit codes, and messages instead of tracebacks.

Exit codes: 0 done; 1 bad input or an output that cannot be written; 2 wrong usage; 130 stopped by
Ctrl-C; 143 by SIGTERM, 129 by SIGHUP; 141 where nobody reads the output any more.
"""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress

from diffusionblend import __version__
from diffusionblend.cli.allocator import keep_freed_memory
from diffusionblend.cli.commands import COMMANDS, first_words, subcommands_of
from diffusionblend.cli.progress import PATIENCE_SECONDS
from diffusionblend.cli.recorded import Command
from diffusionblend.cli.stopping import EXIT_INTERRUPTED, Stopped, Terminated, signals_raised
from diffusionblend.cli.streams import (
    Tolerant,
    note_output,
    open_closed_streams,
    promise_first_word,
)
from diffusionblend.cli.usage import UsageError
from diffusionblend.data.printable import printable
from diffusionblend.errors import InputError, did_you_mean, on_the_command_line
from diffusionblend.io.locks import release_outputs
from diffusionblend.ranks import rank_and_count

EXIT_BROKEN_PIPE = 141
"""128 and SIGPIPE, which not all systems have."""
DESCRIPTION = "3D CT volumes from few or limited-angle projections, with a diffusion prior."
NAME_WIDTH = 20
LONGEST_REASON, LONGEST_SYSTEM_ERROR = 160, 1000
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROOM = "free some space, or write, or print, to another place"
ACCESS = "check the paths and their permissions"
ASKED_BYTES = re.compile(r"tried to allocate (\d+) bytes")
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "could not create a p")
"""What torch says, in lower case, where memory is short: of CUDA, of its allocator, of oneDNN."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    open_closed_streams()
    sys.stderr = Tolerant(sys.stderr)  # type: ignore[assignment]
    keep_freed_memory()
    if rank_and_count()[0] == 0:
        promise_first_word("loading ...", PATIENCE_SECONDS)
    code: int | str | None
    try:
        code = run(sys.argv[1:] if arguments is None else list(arguments))
    except SystemExit as wanted:  # of the parser, which has printed wrong usage
        code = wanted.code
    note_output()
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is over; a second Ctrl-C adds nothing
    failed = False
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as `head`, has had enough
        code = EXIT_BROKEN_PIPE
    except OSError as error:
        failed = True
        code = code or _system_reports(error)
    if failed or code == EXIT_BROKEN_PIPE:  # or Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


@on_the_command_line()
def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; the parser's usage errors exit by themselves.

    Their code is 2.
    """
    _print_any_name()
    try:
        with signals_raised():
            return _run(arguments)
    finally:  # when no signal that came late can strike any more
        release_outputs()


def _run(arguments: Sequence[str]) -> int:
    """Do what the arguments ask for; the exit code, with a message where it is not 0."""
    command: Command | str | None = None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")
            warnings.showwarning = _report_warning
            command = command_of(arguments)
            if isinstance(command, str):
                note_output()
                print(command)
                return 0
            command.run()
    except InputError as error:
        _print_error(str(error))
        return error.exit_code
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except OSError as error:
        return _system_reports(error)
    except Stopped as stopped:
        print(f"diffusionblend: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        if command is not None:  # while it only starts there is nothing to say
            print("diffusionblend: interrupted; no half-written file is left", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated as terminated:
        print("diffusionblend: terminated; no half-written file is left", file=sys.stderr)
        return terminated.exit_code
    except (MemoryError, RecursionError, RuntimeError) as error:
        message = _out_of_memory(error)
        if message is None:
            raise
        _print_error(message)
        return InputError.exit_code
    return 0


def command_of(arguments: Sequence[str]) -> Command | str:
    """The command that the arguments name, with its options; or a text to print.

    Raises UsageError, InputError, and SystemExit by the parser.
    """
    if not arguments:
        raise UsageError("No command was given.", "one of those below", _list_of_commands())
    first, *rest = arguments
    if first == "help":  # as many programs have it
        first, *rest = [*rest, "--help"]
    if first in ("--version", "-V"):
        return f"diffusionblend {__version__}"
    if first in ("--help", "-h", "--help-all"):
        return _list_of_commands()
    if first.partition("=")[0] == "--completion":
        return _completion(first.partition("=")[2] or "".join(rest))
    inner = subcommands_of(first)
    if inner:
        return _subcommand_of(first, inner, rest)
    if first not in COMMANDS:
        raise UsageError(
            f"There is no command {first!r}.",
            f"one of {', '.join(first_words())}",
            did_you_mean(first, first_words()),
        )
    return _parsed(first, rest)


def _subcommand_of(first: str, inner: tuple[str, ...], rest: Sequence[str]) -> Command | str:
    """A command of two words, or the list of those that begin with the first."""
    if rest and rest[0] in inner:
        return _parsed(f"{first} {rest[0]}", rest[1:])
    if rest and rest[0] in ("--help", "-h", "--help-all"):
        return _list_of(first, [f"{first} {name}" for name in inner])
    raise UsageError(
        f"{first} was given {rest[0]!r}." if rest else f"{first} was given no subcommand.",
        f"one of {', '.join(inner)}",
        (did_you_mean(rest[0], inner) if rest else "") or f"diffusionblend {first} {inner[0]}",
    )


def _parsed(name: str, arguments: Sequence[str]) -> Command | str:
    from diffusionblend.cli.parse import parsed_command

    return parsed_command(name, arguments)


def _completion(shell: str) -> str:
    """A script for a shell."""
    from diffusionblend.cli.completion import SHELLS, completion_script

    if shell not in SHELLS:
        raise UsageError(
            f"--completion was given {shell!r}.",
            f"one of {', '.join(SHELLS)}",
            'eval "$(diffusionblend --completion bash)"',
        )
    return completion_script(shell, COMMANDS)


def _list_of_commands() -> str:
    """The help of the program: its commands, a line each."""
    lines = ["usage: diffusionblend COMMAND [options]", "", DESCRIPTION, "", "commands:"]
    for word in first_words():
        inner = subcommands_of(word)
        summary = COMMANDS[word].summary if not inner else _either(word, inner)
        lines.append(f"  • {word:{NAME_WIDTH}}{summary}")
    lines += [
        "",
        "options:",
        "  --help, -h     Print this; after a command, its help. --help-all prints all options.",
        "  --version, -V  Print the version.",
        "  --completion bash|zsh  Print a script by which the shell completes what is typed.",
        "",
        "examples:",
        "  diffusionblend demo",
        "  diffusionblend reconstruct scan.h5 -o volume.nii.gz",
    ]
    return "\n".join(lines)


def _either(word: str, inner: tuple[str, ...]) -> str:
    """The summary of a command with subcommands."""
    first = COMMANDS[f"{word} {inner[0]}"].summary
    return f"{first.rstrip('.')}, or look into one."


def _list_of(first: str, names: Sequence[str]) -> str:
    """The help of a command that has subcommands."""
    lines = [f"usage: diffusionblend {first} COMMAND [options]", "", "commands:"]
    lines += [f"  • {n.partition(' ')[2]:{NAME_WIDTH}}{COMMANDS[n].summary}" for n in names]
    lines += ["", "examples:", *(f"  {e}" for name in names for e in COMMANDS[name].examples)]
    return "\n".join(lines)


def _report_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one plain line, in place of Python's with the line of source that gave it."""
    _print_error(f"warning: {' '.join(str(message).split())}")


def _print_any_name() -> None:
    """Have names of files that are no UTF-8 printed with escapes for their odd bytes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper | Tolerant):
            stream.reconfigure(errors="backslashreplace")


def _print_error(text: str) -> None:
    """A message on standard error."""
    print(f"diffusionblend: {printable(text)}", file=sys.stderr)


def _system_reports(error: OSError) -> int:
    """Tell of an error of the system; the exit code."""
    text = str(error)
    shown = text if len(text) <= LONGEST_SYSTEM_ERROR else f"{text[:LONGEST_SYSTEM_ERROR]}..."
    _print_error(
        f"the system reports: {shown}\n"
        "Expected: files and streams that can be read and written\n"
        f"Try: {ROOM if error.errno in NO_ROOM else ACCESS}"
    )
    return InputError.exit_code


def _out_of_memory(error: Exception) -> str | None:
    """The message of an error that means too little memory; None for any other."""
    if isinstance(error, RecursionError):
        return "The input is nested too deeply.\nExpected: fewer levels\nTry: another input"
    words = str(error).lower()
    if not isinstance(error, MemoryError) and not any(w in words for w in NO_MEMORY):
        return None
    asked = ASKED_BYTES.search(str(error))
    reason = " ".join(str(error).split("\n")[0].split())[:LONGEST_REASON]
    if asked:
        reason = f"{float(asked[1]) / 1e9:.2g} GB were asked for"
    return (
        f"There is too little memory{f' ({reason})' if reason else ''}.\n"
        "Expected: what fits into it, see --dry-run\n"
        "Try: a smaller --batch-blocks or --batch-size, fewer slices, --consistency cg, which "
        "needs no factor, or end other programs"
    )


if __name__ == "__main__":
    main()
