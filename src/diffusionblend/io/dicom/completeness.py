"""Whether all of a series is there, as far as its headers say how much that is."""

from __future__ import annotations

from diffusionblend.io.dicom.header import Header


def completeness_notes(
    files: list[Header], slices: list[Header], n_left_out: int
) -> tuple[str, ...]:
    """Sentences on parts of a series that seem to be missing.

    files: the images of the series. slices: those and the frames of a multi-frame image, all of
    the series. n_left_out: images of the series that are no slices.
    """
    return (*_concatenations(files), *_counts(slices, n_left_out))


def _concatenations(files: list[Header]) -> list[str]:
    """On a multi-frame image that was split, of which not all parts are there."""
    parts: dict[str, set[int]] = {}
    totals: dict[str, int] = {}
    for header in files:
        uid = header.text("ConcatenationUID")
        total = header.whole_number("InConcatenationTotalNumber", 0)
        if uid and header.number("InConcatenationNumber") is not None:
            parts.setdefault(uid, set()).add(header.whole_number("InConcatenationNumber", 0))
            totals[uid] = max(total, totals.get(uid, 0), *parts[uid])
    notes = []
    for uid, numbers in parts.items():
        missing = [n for n in range(1, totals[uid] + 1) if n not in numbers]
        if missing:
            notes.append(
                f"A multi-frame image was split into {totals[uid]} parts (a concatenation), and "
                f"part {', '.join(map(str, missing))} is missing: the volume is not whole."
            )
    return notes


def _counts(slices: list[Header], n_left_out: int) -> list[str]:
    """On slices that are fewer than their acquisition has, or whose numbers begin above 1."""
    by_acquisition: dict[str, list[Header]] = {}
    for header in slices:
        by_acquisition.setdefault(header.text("AcquisitionNumber"), []).append(header)
    for headers in by_acquisition.values():
        stated = max(h.whole_number("ImagesInAcquisition", 0) for h in headers)
        if stated > len(headers) + n_left_out:
            return [
                f"The headers state {stated} images in the acquisition (ImagesInAcquisition), and "
                f"{len(headers)} slices are here: was the series copied in part?"
            ]
        if stated:
            return []
    if any(h.frame is not None for h in slices):
        return []
    numbers = [h.whole_number("InstanceNumber", 1) for h in slices]
    first = min(numbers)
    if first <= 1 + n_left_out:
        return []
    return [
        f"The numbers of the slices begin at {first} (InstanceNumber): where the series begins at "
        f"1, {first - 1} slice(s) are missing."
    ]
