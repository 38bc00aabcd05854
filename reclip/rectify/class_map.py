"""The best class of every pixel, from logits on grids of cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from reclip.data.reading import Frame, Piece
from reclip.data.resize_maps import resize
from reclip.rectify.leading_classes import Axis, Leaders, axis_of, leading_classes
from reclip.rectify.upsample import upsample

VALUES_AT_ONCE = 2**25  # ours: all logits of a photo of 40 megapixels would fill the memory
SMALL_RESULT = 128  # PyTorch: height + width up to which it resizes by another kernel


def class_map(
    pieces: Sequence[Piece],
    frame: Frame,
    refine: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return the best class of every pixel, int16 (H, W); on a tie the first.

    On a CPU, `leading_classes` settles nearly all pixels of an image that is read whole. The result
    is that of all upsampled logits, to the last bit.

    refine: changes the upsampled logits (C, H, W) of some classes, each class on its own.
    """
    if refine is None and _by_leaders(pieces, frame):
        logits = pieces[0].logits.detach()
        sides = zip(logits.shape[1:], frame.read, frame.size, strict=True)
        rows, columns = (_axis(frame.cell, *map(int, s), frame.overhang) for s in sides)
        steps = 1 if tuple(frame.read) == tuple(frame.size) else 2
        leaders = leading_classes(logits, rows, columns, steps)
        if leaders is not None:
            return _settled(leaders, pieces[0], frame)
    return _best_of_all(pieces, frame, refine or (lambda logits: logits))


def _by_leaders(pieces: Sequence[Piece], frame: Frame) -> bool:
    """Return whether PyTorch upsamples these logits by a kernel that `leading_classes` follows.

    It has others for a small result, for three classes (as for colours), and for logits whose
    classes are last in memory, which compute their weights in another way. Where cells are 8, 16 or
    32 pixels wide, the weights of the last have no rounding, so they are the same. Of more classes
    than are upsampled at once, each part is as if its classes were first.
    """
    first = pieces[0].logits
    if len(pieces) > 1 or first.device.type != "cpu" or first.dtype != torch.float32:
        return False
    last = first[None].is_contiguous(memory_format=torch.channels_last)
    exact = frame.cell in (8, 16, 32) and frame.overhang == "cut" and min(first.shape[1:]) > 2
    if min(sum(frame.read), sum(frame.size)) <= SMALL_RESULT:
        return False
    step = _classes_at_once(frame)
    if 3 in (min(step, len(first)), len(first) % step):
        return False
    return first.is_contiguous() or (last and exact) or len(first) > step


def _classes_at_once(frame: Frame) -> int:
    return max(1, VALUES_AT_ONCE // max(math.prod(frame.read), math.prod(frame.size)))


def _best_of_all(
    pieces: Sequence[Piece], frame: Frame, refine: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the best class of every pixel from all upsampled logits.

    Classes are upsampled a few at a time, which bounds the memory and does not change the result.
    """
    step = _classes_at_once(frame)
    best = found = None
    for start in range(0, len(pieces[0].logits), step):
        some = [Piece(p.window, p.logits[start : start + step]) for p in pieces]
        value, index = refine(upsample(some, frame)).max(0)
        index = index.to(torch.int16).add_(start)
        if best is None:
            best, found = value, index
        else:
            found = torch.where(value > best, index, found)
            torch.maximum(best, value, out=best)
    return found


def _settled(leaders: Leaders, piece: Piece, frame: Frame) -> torch.Tensor:
    """Return the class map, with open pixels by the upsampled logits of the classes near them."""
    best, y, x, classes = leaders
    if len(y):
        logits = piece.logits
        if logits.is_contiguous() or len(logits) > _classes_at_once(frame):
            names, places = classes.unique(return_inverse=True)
            alone = (Piece(piece.window, logits[k : k + 1]) for k in names.tolist())
            values = torch.cat([upsample([one], frame)[:, y, x] for one in alone])
            values = values.gather(0, places)
        else:
            values = _upsampled_near(logits, frame, y, x, classes)
        best[y, x] = classes.gather(0, values.argmax(0)[None])[0].to(best.dtype)
    return best


def _upsampled_near(
    logits: torch.Tensor, frame: Frame, y: torch.Tensor, x: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """Return what `upsample` gives at a few pixels, of logits with classes last in memory.

    PyTorch rounds each class by its place among all. So all classes are resized, but of 3 × 3 cells
    around each pixel only: the weights in cells of 8, 16 or 32 pixels do not depend on the place.

    classes: int64 (K, N), of each of the N pixels; the result has the same shape.
    """
    cell, channels_last = frame.cell, torch.channels_last
    places = [
        (at + 0.5) * read / size - 0.5
        for at, read, size in zip((y, x), frame.read, frame.size, strict=True)
    ]
    starts = [
        (place / cell).floor().long().sub(1).clamp(0, cells - 3)
        for place, cells in zip(places, logits.shape[1:], strict=True)
    ]
    three = torch.arange(3)
    rows, columns = (start[:, None] + three for start in starts)
    around = logits[:, rows[:, :, None], columns[:, None]].transpose(0, 1)
    around = resize(around.contiguous(memory_format=channels_last), (3 * cell, 3 * cell))
    near = torch.arange(-1, 3)
    rows, columns = (
        (place.floor().long()[:, None] + near).clamp(0, side - 1)
        for place, side in zip(places, frame.read, strict=True)
    )
    rows, columns = rows[:, :, None], columns[:, None]
    inside = [
        at - cell * start[:, None, None] for at, start in zip((rows, columns), starts, strict=True)
    ]
    photo = torch.arange(len(y))[:, None, None]
    values = around[photo, :, inside[0], inside[1]]  # (N, 4, 4, C)
    if tuple(frame.read) == tuple(frame.size):
        return values[:, 1, 1].T.gather(0, classes)

    def resized(wanted: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """Return (M, N) by M maps of the image as read, and whether all pixels have their own."""
        read = logits.new_zeros(len(wanted), *frame.read)
        given = values.gather(3, wanted.T[:, None, None].expand(-1, 4, 4, -1)).movedim(3, 0)
        read[:, rows, columns] = given
        intact = torch.equal(read[:, rows, columns], given)
        return torch.cat([resize(one[None, None], frame.size)[0, :, y, x] for one in read]), intact

    found, intact = resized(classes)
    if not intact:  # pixels close by want different classes of one map: a map for each class
        names, which = classes.unique(return_inverse=True)
        found = resized(names[:, None].expand(-1, len(y)))[0].gather(0, which)
    return found


@lru_cache(64)
def _axis(cell: int, cells: int, read: int, size: int, overhang: str) -> Axis:
    """Return the weights of the cells along one side of an image that is read whole.

    Both steps of `upsample` together are in float64, so they have no rounding of their own.
    """
    weights = _weights(cells, read if overhang == "squeezed" else cells * cell)[:read]
    return axis_of(weights if read == size else _weights(read, size) @ weights)


def _weights(source: int, target: int) -> torch.Tensor:
    """Return the weight float64 (target, source) of each old place in each new one.

    It is what `resize` makes of maps that are 1 in one place, in a result that is not small.
    """
    maps = torch.eye(source)[None, :, :, None]
    wide = max(1, SMALL_RESULT + 1 - target)
    return resize(maps, (target, wide))[0, ..., 0].T.double()
