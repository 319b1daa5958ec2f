"""Scans drawn for a network that restores the FBP of any of them."""

from __future__ import annotations

import numpy as np

FEWEST_VIEWS, MOST_VIEWS = 3, 180
SHORTEST_ARC_DEGREES, LONGEST_ARC_DEGREES = 45.0, 180.0
SHARE_OF_WHOLE_ARCS, SHARE_OF_A_VIEW_A_DEGREE = 0.5, 0.2


def draw_scans(rng: np.random.Generator, n: int) -> list[tuple[int, float]]:
    """Views and arc in degrees of n parallel-beam scans.

    Half of them have the whole arc of 180 degrees and a fifth a view a degree of a shorter one, as
    limited arcs are measured; the others any number of views over any arc.
    """
    kinds = rng.random(n)
    logs = rng.uniform(np.log(FEWEST_VIEWS), np.log(MOST_VIEWS + 1), n)
    arcs = np.round(rng.uniform(SHORTEST_ARC_DEGREES, LONGEST_ARC_DEGREES, n))
    arcs[kinds < SHARE_OF_WHOLE_ARCS] = LONGEST_ARC_DEGREES
    views = np.exp(logs).astype(int)
    a_degree = kinds >= 1 - SHARE_OF_A_VIEW_A_DEGREE
    views[a_degree] = arcs[a_degree].astype(int)
    return [(int(v), float(a)) for v, a in zip(views, arcs, strict=True)]
