"""Outline a binary mask with polygons along the edges of its pixels, so that nothing is lost."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Steps along pixel edges, (rows, columns): right, down, left, up. The mask lies on the right-hand
# side. A turn to the right is +1.
STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])


def outline(mask: np.ndarray) -> list[list[int]]:
    """Return polygons [x1, y1, x2, y2, ...] whose union is the mask, in pixels.

    mask: bool (H, W). Each polygon outlines pixels that are connected by their sides. COCO's
    polygons have no holes, so a hole is joined to the outline above it by a line of no width.
    """
    edges = _edges(mask)
    if not len(edges.start):
        return []
    return _walk(edges.start, edges.end, _open_holes(edges))


class _Edges:
    """The unit edges around the mask's pixels.

    Attributes:
        start, end: vertices (E, 2) of each edge, (row, column).
        next: index of the edge that follows each edge, (E,).
    """

    def __init__(self, start: np.ndarray, direction: np.ndarray, width: int) -> None:
        self.start, self.end = start, start + STEPS[direction]
        keys = _keys(start, direction, width)  # sorted
        self.next = np.full(len(keys), -1)
        for turn in (-1, 0, 1):  # the last one found counts: where pixels touch, turn right
            wanted = _keys(self.end, (direction + turn) % 4, width)
            index = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
            self.next = np.where(keys[index] == wanted, index, self.next)


def _keys(vertex: np.ndarray, direction: np.ndarray, width: int) -> np.ndarray:
    return (vertex[:, 0] * (width + 1) + vertex[:, 1]) * 4 + direction


def _edges(mask: np.ndarray) -> _Edges:
    inside = np.pad(mask, 1)
    pixel = inside[1:-1, 1:-1]
    neighbours = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])
    starts, directions = [], []
    for direction, (neighbour, corner) in enumerate(
        zip(neighbours, ((0, 0), (0, 1), (1, 1), (1, 0)), strict=True)
    ):
        found = np.argwhere(pixel & ~neighbour) + corner
        starts.append(found)
        directions.append(np.full(len(found), direction))
    start, direction = np.concatenate(starts), np.concatenate(directions)
    order = np.argsort(_keys(start, direction, mask.shape[1]))
    return _Edges(start[order], direction[order], mask.shape[1])


def _open_holes(edges: _Edges) -> np.ndarray:
    """Return the edges that follow each edge once each hole is joined to the outline above it.

    From the leftmost of a hole's topmost corners, a line leads up to the first corner of another
    outline. All pixels beside the line are in the mask, so exactly one outline passes each end.
    """
    count = len(edges.next)
    graph = coo_array((np.ones(count, bool), (np.arange(count), edges.next)), (count, count))
    loops, loop = connected_components(graph, directed=False)
    # An outline has the mask on its right-hand side, so its area is positive, a hole's negative.
    (y0, x0), (y1, x1) = edges.start.T, edges.end.T
    hole = np.bincount(loop, x0 * y1 - x1 * y0, loops) < 0
    # Edges are sorted by row, then column: the first one of a loop starts at this corner.
    _, first = np.unique(loop, return_index=True)
    first = first[hole]
    if not len(first):
        return edges.next
    height = int(y0.max()) + 1
    column = x0 * height + y0
    by_column = np.argsort(column, kind="stable")
    above = by_column[np.searchsorted(column[by_column], column[first]) - 1]
    before = np.empty(count, np.int64)
    before[edges.next] = np.arange(count)
    following = edges.next.copy()
    following[before[above]] = first
    following[before[first]] = above
    return following


def _walk(start: np.ndarray, end: np.ndarray, following: np.ndarray) -> list[list[int]]:
    """Return the corners along each loop of edges; a line that opens a hole is walked twice."""
    todo, polygons = following.tolist(), []
    for first in range(len(todo)):
        loop, edge = [], first
        while todo[edge] >= 0:
            loop.append(edge)
            todo[edge], edge = -1, todo[edge]
        if loop:
            points = np.stack([start[loop], end[loop]], axis=1).reshape(-1, 2)
            points = points[(points != np.roll(points, -1, axis=0)).any(axis=1)]
            to, back = np.roll(points, -1, axis=0) - points, points - np.roll(points, 1, axis=0)
            corner = (np.sign(to) != np.sign(back)).any(axis=1)
            polygons.append(points[corner][:, ::-1].ravel().tolist())
    return polygons
