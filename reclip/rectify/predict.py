"""Turn logits on grids of cells into a label map of the photo's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import torch

from reclip.clip.feature_cache import FeatureCache
from reclip.config.models import DenoisingSettings, ImageSettings, RefinementSettings
from reclip.data.images import read_image
from reclip.data.index import Item
from reclip.data.reading import Frame, Piece, Window
from reclip.data.resize_maps import resize
from reclip.rectify.leading_classes import Axis, Leaders, axis_of, leading_classes
from reclip.rectify.model import Rectifier
from reclip.rectify.refine import Refiner, colours

VALUES_AT_ONCE = 2**25  # ours: all logits of a photo of 40 megapixels would fill the memory
SMALL_RESULT = 128  # PyTorch: height + width up to which it resizes by another kernel
CERTAIN = 2.0**-25
"""What a threshold of 1 leaves to the other classes: up to here float32 rounds to 1.

The published threshold of ReCLIP++ on VOC is 1, and works by that rounding alone.
"""
REMOVED = -100.0  # official: logit of a removed class, far below any cosine


def upsample(pieces: Sequence[Piece], frame: Frame) -> torch.Tensor:
    """Return logits (C, H, W) of the photo, by two bilinear steps.

    The first step goes from cells to pixels of the image as read, the second to the photo's
    pixels. Where windows overlap, their logits are averaged.
    """
    grown = [_grow(piece, frame) for piece in pieces]
    full = grown[0]
    if len(pieces) > 1:
        full = full.new_zeros(full.shape[0], *frame.read)
        count = full.new_zeros(frame.read)
        for piece, logits in zip(pieces, grown, strict=True):
            top, left, height, width = piece.window
            full[:, top : top + height, left : left + width] += logits
            count[top : top + height, left : left + width] += 1
        full /= count
    if tuple(frame.read) != tuple(frame.size):
        full = resize(full[None], frame.size)[0]
    return full


def _grow(piece: Piece, frame: Frame) -> torch.Tensor:
    """Return the piece's logits at each pixel of its window, (C, height, width)."""
    _, _, height, width = piece.window
    if frame.overhang == "squeezed":
        return resize(piece.logits[None], (height, width))[0]
    padded = tuple(side * frame.cell for side in piece.logits.shape[-2:])
    return resize(piece.logits[None], padded)[0, :, :height, :width]


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
    if len(classes):
        logits = piece.logits
        if logits.is_contiguous() or len(logits) > _classes_at_once(frame):
            alone = (Piece(piece.window, logits[k : k + 1]) for k in classes.tolist())
            values = torch.cat([upsample([one], frame)[:, y, x] for one in alone])
        else:
            values = _upsampled_near(logits, frame, y, x, classes)
        best[y, x] = classes[values.argmax(0)].to(best.dtype)
    return best


def _upsampled_near(
    logits: torch.Tensor, frame: Frame, y: torch.Tensor, x: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """Return what `upsample` gives at a few pixels, (K, N), of logits with classes last in memory.

    PyTorch rounds each class by its place among all. So all classes are resized, but of 3 × 3 cells
    around each pixel only: the weights in cells of 8, 16 or 32 pixels do not depend on the place.
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
    read = logits.new_zeros(len(classes), *frame.read)
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
    read[:, rows, columns] = around[photo, :, inside[0], inside[1]].movedim(3, 0)[classes]
    if tuple(frame.read) == tuple(frame.size):
        return read[:, y, x]
    return torch.cat([resize(one[None, None], frame.size)[0, :, y, x] for one in read])


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


def denoise(pieces: Sequence[Piece], settings: DenoisingSettings) -> list[Piece]:
    """Return pieces without the classes that are unlikely in every cell (see DenoisingSettings).

    If no class is left, every pixel gets class 0, as in the official code. The decision does not
    depend on the precision of the softmax: see `CERTAIN`.
    """
    if not settings.prompt_denoising:
        return list(pieces)
    doubts = [_doubt(settings.denoising_scale * p.logits.double()).flatten(1) for p in pieces]
    out = torch.cat(doubts, dim=1).amin(1) > max(1 - settings.denoising_threshold, CERTAIN)
    return [Piece(p.window, p.logits.masked_fill(out[:, None, None], REMOVED)) for p in pieces]


def _doubt(scaled: torch.Tensor) -> torch.Tensor:
    """Return 1 - softmax over the classes of float64 logits (C, ...), to its last digits.

    Of a class above one half it is what the other classes have: 1 - p would cancel.
    """
    top = scaled.argmax(0, keepdim=True)
    likely = (scaled - scaled.amax(0)).exp()
    others = likely.scatter(0, top, 0.0).sum(0, keepdim=True)
    whole = others + likely.gather(0, top)
    return (1 - likely / whole).scatter(0, top, others / whole)


def predict_from_features(
    model: Rectifier,
    features: FeatureCache,
    split: str,
    i: int,
    item: Item,
    processing: RefinementSettings,
) -> torch.Tensor:
    """Return the class map (H, W) of image `i` of a split, from its cached features.

    Only PAMR reads the photo again.
    """
    pieces = rectified_logits(model, features.pieces(split, i), processing)
    frame = feature_frame(features, split, i, item)
    if not processing.pamr:
        return class_map(pieces, frame)
    seen = colours(read_image(item.image), frame, pieces[0].logits.device)
    return class_map(pieces, frame, Refiner(seen, processing))


def rectified_logits(
    model: Rectifier, features: Iterable[tuple[Window, torch.Tensor]], denoising: DenoisingSettings
) -> list[Piece]:
    """Return denoised logits of windows, from their unit-length features (h, w, D)."""
    pieces = [
        Piece(window, model(z.to(model.w_query.device)[None])[0].permute(2, 0, 1))
        for window, z in features
    ]
    return denoise(pieces, denoising)


def feature_frame(features: FeatureCache, split: str, i: int, item: Item) -> Frame:
    """Return the frame of image `i` of a split."""
    overhang = features.image_settings.overhang
    return Frame(features.patch, features.size(split, i), (item.height, item.width), overhang)


def protocol(image: ImageSettings) -> str:
    """Return in words how photos are read, for the metrics."""
    read = "own size" if image.short_side is None else f"short side {image.short_side}"
    if image.protocol == "whole":
        return f"whole, {read}"
    return f"slide {image.window}/{image.stride}, {read}"


def post_processing(settings: RefinementSettings) -> str:
    """Return in words what is done to the logits, for the metrics."""
    done = []
    if settings.prompt_denoising:
        done.append(f"prompt denoising {settings.denoising_threshold:g}")
    if settings.pamr:
        done.append(f"PAMR {settings.pamr}")
        if settings.pamr_dilations != RefinementSettings().pamr_dilations:
            done[-1] += f" at {'/'.join(map(str, settings.pamr_dilations))}"
    return ", ".join(done) or "none"
