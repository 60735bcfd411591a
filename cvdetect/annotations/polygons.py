"""Regions of pixels as polygons along the pixels' edges: COCO's ``segmentation`` of an object."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cvdetect.core.masks import Region

__all__ = ["polygons"]

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: each a turn to the right of the one before

Corner = tuple[int, int]  # x, y


def polygons(found: Region) -> list[list[int]] | None:
    """The outlines of a region, one for each part that hangs together by edges: x1, y1, x2, y2, … in image pixels.

    They enclose exactly the region's pixels, pixel (x, y) being the square from x, y to x + 1, y + 1. None where
    polygons cannot say what the region is: where it has a hole, or no pixel.
    """
    outlines = list(_outlines(found))
    if not outlines or any(_is_hole(corners) for corners in outlines):
        return None
    return [[v for x, y in corners for v in (x + found.x, y + found.y)] for corners in outlines]


def _outlines(found: Region) -> Iterator[list[Corner]]:
    """Every closed line between inside and outside, its corners in order, with the inside on its right."""
    edges = _edges(found)
    for start in sorted(edges[0]):  # every closed line goes right somewhere
        if start in edges[0]:  # and is not gone along yet
            yield _follow(edges, start)


def _edges(found: Region) -> list[set[Corner]]:
    """For each direction of _STEPS the pixel edges to go along, by where they begin."""
    around = np.pad(found.inside, 1)
    inside = around[1:-1, 1:-1]
    outside = ~around[:-2, 1:-1], ~around[1:-1, 2:], ~around[2:, 1:-1], ~around[1:-1, :-2]  # above, right, below, left
    begins = (0, 0), (1, 0), (1, 1), (0, 1)  # of the edge towards that neighbour, from the pixel's corner
    return [
        {(x + dx, y + dy) for y, x in np.argwhere(inside & free).tolist()}
        for free, (dx, dy) in zip(outside, begins, strict=True)
    ]


def _follow(edges: list[set[Corner]], start: Corner) -> list[Corner]:
    """The corners of the closed line that goes right from `start`; its edges are taken out of `edges`."""
    corners: list[Corner] = []
    (x, y), heading = start, 0
    while not corners or (x, y, heading) != (*start, 0):
        x, y = x + _STEPS[heading][0], y + _STEPS[heading][1]
        # Right first: where two pixels touch at a corner only, the line stays with its own.
        onward = next(t % 4 for t in (heading + 1, heading, heading - 1) if (x, y) in edges[t % 4])
        if onward != heading:
            corners.append((x, y))
        heading = onward
        edges[heading].remove((x, y))
    return corners


def _is_hole(corners: list[Corner]) -> bool:
    """Whether a closed line goes round against the clock, as seen on the picture."""
    following = [*corners[1:], corners[0]]
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, following, strict=True)) < 0
