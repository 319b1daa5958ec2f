"""The patient within a CT volume, as a mask: what figures about the inside of the body look at."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError

SKIN_HU = -300.0
"""Brighter voxels are tissue; darker ones are the air around it, or lungs."""
CUT_VOXELS = 1
"""Bridges of tissue thinner than twice this in the plane, as to a table's sheet, are cut."""


def body_mask(volume: Volume) -> np.ndarray:
    """The largest piece of tissue with all it encloses in the axial plane, (z, y, x) booleans.

    Lungs and gas inside count as body, the table and the air around do not. Raises InputError for a
    volume without tissue.
    """
    from scipy import ndimage

    tissue = volume.values > SKIN_HU
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    cut = ndimage.binary_opening(tissue, in_plane, iterations=CUT_VOXELS)
    pieces, n_pieces = ndimage.label(cut if cut.any() else tissue)
    if n_pieces == 0:
        raise InputError(
            f"The reference has no voxel above {SKIN_HU:.0f} HU, so no body.",
            "a volume of a patient, in HU",
        )
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    return np.stack([ndimage.binary_fill_holes(piece) for piece in pieces == largest])
