"""Lists of view angles as people keep them: text of many dialects, spreadsheets, NumPy arrays."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.io.atomic import check_readable

ONE_A_LINE = "copy it again, or write the angles anew, one a line"
COMMENT = re.compile(r"#|%|//|!")
ANGLE_WORDS = ("angle", "theta", "rotation", "omega", "phi", "deg", "rad")
"""One of them in the heading of a column marks the angles."""
UNIT_WORDS = {
    "millidegrees": r"(?<![a-z])m(illi)?deg",
    "milliradians": r"(?<![a-z])m(illi)?rad",
    "radians": r"(?<![a-z\u00b5\u03bc])rad",
    "degrees": r"(?<![a-z\u00b5\u03bc])deg|°",
}
"""What a heading says of the unit; the first that fits."""
OTHER_UNITS = re.compile(
    r"(?<![a-z])(gons?|grads?|gradians?|arc ?min\w*|arc ?sec\w*)(?![a-z])"
    r"|[\[(](turns?|revs?|revolutions?|steps?|counts?|pulses?|ticks?)[\])]"
    r"|^\s*(?:angles?\s+in\s+)?(turns?|revs?|revolutions?)\s*$"
    r"|(?<![a-z])((?:[u\u00b5\u03bcnk]|micro|nano|kilo)(?:rad|deg)\w*)",
    re.MULTILINE,
)
"""Units of angles in which lists are not read; a remark may speak of a turn."""
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
LARGEST = 1e7
"""Larger numbers, as seconds since 1970, are no angles in any unit."""
MOST_LINES = 500_000
LONGEST_LINE = 2_000_000
ENDLESS_WORD = re.compile(r"[^\s;,]{400}")
EXPECTED = "one number a view in a text file, or a .npy array of numbers"
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class _Line:
    """A line of numbers, as its words, with its number in the file from 1."""

    number: int
    words: list[str]


def read_angle_list(path: Path | str) -> tuple[np.ndarray, str | None]:
    """The numbers of a list, as they are, and the unit that its heading states, if it does.

    Text separated by spaces, lines, semicolons or commas, also with decimal commas, a heading, a
    column that counts the views, comments and a byte order mark; or an .npy file. Raises
    InputError with the line that is odd, and where several columns may be the angles.
    """
    path = Path(path)
    check_readable(path)
    if path.suffix.lower() == ".npy":
        return _of_array(path), None
    text = _text(path)
    too_long = any(len(line) > LONGEST_LINE for line in text.splitlines())
    if text.count("\n") > MOST_LINES or too_long or ENDLESS_WORD.search(text):
        raise InputError(
            f"{path} is not a list of angles: it has {text.count(chr(10)) + 1} lines, or words of "
            "hundreds of letters, or lines of millions.",
            EXPECTED,
            ONE_A_LINE,
        )
    headings, lines = _lines(_named_column(text) or text, path)
    if not lines:
        first = next((f"; it begins {line.strip()[:60]!r}" for line in text.splitlines()), "")
        raise InputError(
            f"{path} is not a list of angles: it has no line of numbers alone{first}.",
            EXPECTED,
            ONE_A_LINE,
        )
    stated = next(
        (unit for unit, word in UNIT_WORDS.items() if re.search(word, headings.lower())), None
    )
    other = OTHER_UNITS.search(headings.lower())
    if stated is None and other is not None:
        raise InputError(
            f"The heading of {path} has the unit {other[0].strip(' []()')!r}.",
            f"angles in {', '.join(UNIT_WORDS)}",
            "the angles in degrees, with a heading such as 'angle_deg'",
        )
    table = [[float(word) for word in line.words] for line in lines]
    widths = {len(row) for row in table}
    if len(table) == 1 or widths == {1}:
        return np.array([v for row in table for v in row]), stated
    whole = np.array([v for row in table for v in row])
    if len(widths) > 1:
        return whole, stated
    column = _column(np.array(table), headings)
    if column is not None:
        return column, stated
    steps = np.diff(whole)
    if (steps > 0).all() or (steps < 0).all():  # so many a line
        return whole, stated
    width = len(table[0])
    raise InputError(
        f"{path} has {width} numbers a line, such as line {lines[0].number}: "
        f"{' '.join(lines[0].words)}; which of them are the angles is not clear.",
        EXPECTED,
        "a list of the angles alone, or a heading such as 'angle_deg' above their column",
    )


def _of_array(path: Path) -> np.ndarray:
    """The numbers of an .npy file; of two columns the one that does not count. InputError."""
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path} is not a list of angles: {error}.",
            EXPECTED,
            ONE_A_LINE,
        ) from error
    if found.dtype.kind not in "fiu":
        raise InputError(
            f"{path} is not a list of angles: an array of {found.dtype}.",
            EXPECTED,
            ONE_A_LINE,
        )
    if found.ndim == 2 and min(found.shape) > 1:
        column = _column(found, "")
        if column is None:
            raise InputError(
                f"{path} is not a list of angles: an array of shape {found.shape}.",
                EXPECTED,
                ONE_A_LINE,
            )
        return column
    return found.ravel()


def _text(path: Path) -> str:
    """A file's text: UTF-8, or by its byte order mark; Latin-1 where it is neither."""
    data = path.read_bytes()
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _named_column(text: str) -> str | None:
    """The column that a heading names as angles, beside others with words such as file names."""
    rows = [re.split(r"[;,\t]", line) for line in text.splitlines() if line.strip()]
    if len(rows) < 2 or len(rows[0]) < 2 or {len(row) for row in rows} != {len(rows[0])}:
        return None
    named = [i for i, w in enumerate(rows[0]) if any(a in w.lower() for a in ANGLE_WORDS)]
    others = [word for row in rows[1:] for i, word in enumerate(row) if i not in named]
    if len(named) != 1 or all(re.fullmatch(f"{NUMBER}|", word.strip()) for word in others):
        return None
    return "\n".join(row[named[0]] for row in rows)


def _lines(text: str, path: Path) -> tuple[str, list[_Line]]:
    """The words of headings and comments, and the lines of numbers. Raises InputError."""
    headings: list[str] = []
    lines: list[_Line] = []
    text = re.sub(r"(?<=\d)[dD](?=[+-]\d)", "e", text.replace("\N{MINUS SIGN}", "-"))
    parted = [COMMENT.split(line, maxsplit=1) for line in text.splitlines()]
    plain = [re.sub(r"[\[\]()\"']", " ", parts[0]).strip() for parts in parted]
    decimal_comma = _has_decimal_commas(plain, path)
    for number, (line, parts) in enumerate(zip(plain, parted, strict=True), 1):
        if not lines and len(parts) > 1:
            headings.append(parts[1])
        if decimal_comma:
            line = re.sub(r"(\d),(\d)", r"\1.\2", line)
        words = [w for w in re.split(r"[\s;,]+", line) if w not in ("", "°", "deg")]
        words = [re.sub(r"(?<=\d)(°|deg|:)$", "", w) for w in words]
        odd = [w for w in words if not re.fullmatch(f"{NUMBER}|[+-]?(nan|inf)", w, re.IGNORECASE)]
        if not odd and words:
            lines.append(_Line(number, words))
        elif odd and not lines and re.search(r"[^\W\d_]", line):
            headings.append(parts[0])
        elif odd:
            raise InputError(
                f"{path} is not a list of angles: line {number} has {odd[0][:60]!r}.",
                EXPECTED,
                ONE_A_LINE,
            )
    return "\n".join(headings), lines


def _has_decimal_commas(lines: list[str], path: Path) -> bool:
    """Whether commas are decimal ones. Raises InputError where they may be either."""
    whole = "\n".join(line for line in lines if not re.search(r"[^\W\d_]", line))
    if "." in whole or not DECIMAL_COMMA.search(whole):
        return False
    if re.search(r"[;\t ]", whole):  # something else separates
        words = [w for w in re.split(r"[\s;]+", whole) if w]
        return all(re.fullmatch(r"[+-]?\d+(,\d+)?", w) for w in words)
    pairs = [line for line in whole.split("\n") if line]
    if len(pairs) < 2 or not all(DECIMAL_COMMA.fullmatch(pair) for pair in pairs):
        return False
    first, second = zip(*(pair.split(",") for pair in pairs), strict=True)
    values = np.array(second, dtype=float)
    steps = np.diff(values)
    if not _counts(np.array(first, dtype=float)) or (len(steps) and (values == values[0]).all()):
        return True
    even = len(set(map(len, second))) == 1
    if even and ((steps > 0).all() or (steps < 0).all()):
        raise InputError(
            f"{path} has lines such as {pairs[1]!r}: a number with a decimal comma, or the count "
            "of a view and its angle.",
            "one of them",
            "a decimal point, or a semicolon between columns",
        )
    return False


def _column(table: np.ndarray, headings: str) -> np.ndarray | None:
    """The column of angles in a table (line, column): by its heading, or beside one that counts."""
    last = next((line for line in reversed(headings.splitlines()) if line.strip()), "")
    words = [w.strip().lower() for w in re.split(r"[;,\t]|\s{2,}|\s(?![(\[])", last) if w.strip()]
    if len(words) == table.shape[1]:
        named = [i for i, w in enumerate(words) if any(a in w for a in ANGLE_WORDS)]
        if len(named) == 1:
            return table[:, named[0]]
    others = [i for i in range(table.shape[1]) if not _counts(table[:, i])]
    if len(others) == table.shape[1]:
        return None
    if not others:  # every column counts, as angles in steps of one degree do
        return table[:, -1]
    if len(others) > 1 or table.shape[1] != 2 or np.abs(table[:, others[0]]).max() > LARGEST:
        return None
    return table[:, others[0]]


def _counts(column: np.ndarray) -> bool:
    """Whether numbers count on by one from 0 or 1."""
    return bool(column[0] in (0, 1) and (np.diff(column) == 1).all())
