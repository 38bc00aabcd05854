"""The stages as obvious code: one photo, one prompt and one class at a time.

Each function gives the same result as what reclip computes; `speed.measure` compares them first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from reclip.clip.load import Clip
from reclip.clip.text import ReferenceEncoder
from reclip.config.models import DistillSettings, RectifySettings
from reclip.data.reading import MEAN_STD
from reclip.data.resize import resize_linear
from reclip.data.views import View, distort
from reclip.distill.deeplab import Student
from reclip.rectify.model import BiasModel


def read_view(path: object, view: View, norm: str) -> Tensor:
    """Return a normalised view (3, h, w): resize the whole photo, then cut."""
    with Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB"))
    cut = resize_linear(pixels, *view.size)[view.cut]
    if view.flip:
        cut = cut[:, ::-1]
    if view.colour:
        cut = distort(cut, view.colour)
    mean, std = (np.array(values, np.float32) for values in MEAN_STD[norm])
    return torch.from_numpy(((cut - mean) / std).transpose(2, 0, 1).copy())


def dense_features(clip: Clip, image: Tensor) -> Tensor:
    """Return features (h, w, D) of an image (3, H, W) of whole patches.

    The whole image tower runs, and the last block's value path is computed beside it (MaskCLIP).
    """
    visual = clip.model.visual
    x = visual.conv1(image[None])
    grid = x.shape[-2:]
    positions = visual.positional_embedding[1:].T.reshape(1, -1, *clip.grid)
    positions = F.interpolate(positions, size=grid, mode="bicubic", align_corners=False)
    cls = visual.class_embedding + visual.positional_embedding[0]
    tokens = (x + positions).flatten(2)[0].T
    x = visual.ln_pre(torch.cat([cls[None], tokens])[None])
    for block in visual.transformer.resblocks:
        before, x = x, block(x)
    last = visual.transformer.resblocks[-1]
    qkv = F.linear(last.ln_1(before), last.attn.in_proj_weight, last.attn.in_proj_bias)
    v = before + last.attn.out_proj(qkv.chunk(3, dim=-1)[2])
    v = v + last.mlp(last.ln_2(v))
    z = visual.ln_post(v)[0, 1:] @ visual.proj
    return F.normalize(z, dim=-1).unflatten(0, grid)


def query_embeddings(clip: Clip, names: list[str], templates: list[str]) -> Tensor:
    """Return text embeddings (C, D): a prompt at a time, padded to the whole context."""
    found = []
    for name in names:
        prompts = []
        for template in templates:
            tokens = clip.tokenizer([template.format(name)]).to(clip.device)
            prompts.append(F.normalize(clip.model.encode_text(tokens)[0], dim=-1))
        found.append(F.normalize(torch.stack(prompts).mean(0), dim=-1))
    return torch.stack(found)


def reference_embeddings(encoder: ReferenceEncoder, names: Sequence[str]) -> Tensor:
    """Return Reference embeddings (C, D) of whole sequences [SOS][v1..vL][class][EOT]."""
    clip, model = encoder.clip, encoder.clip.model
    embed, tokenizer = model.token_embedding, clip.tokenizer
    own = [[*tokenizer.encode(name), tokenizer.eot_token_id] for name in names]
    prefix = torch.cat([encoder.start, encoder.prompt])
    rows = [torch.cat([prefix, embed(torch.tensor(row, device=clip.device))]) for row in own]
    x = pad_sequence(rows, batch_first=True)
    length = x.shape[1]
    mask = model.attn_mask[:length, :length]
    x = model.transformer(x + model.positional_embedding[:length], attn_mask=mask)
    ends = torch.stack([x[i, len(row) - 1] for i, row in enumerate(rows)])
    return model.ln_final(ends) @ model.text_projection


def rectification_loss(
    model: BiasModel,
    names: Sequence[str],
    z: Tensor,
    hypotheses: Tensor,
    noise: Tensor,
    settings: RectifySettings,
) -> Tensor:
    """Return the loss of one view (Eqs. 1 to 5).

    names: of the classes; z (h, w, D); hypotheses bool (C,); noise: exponential (h*w, C).
    """
    w_q = model.w_query
    w_r = reference_embeddings(model.reference, names)
    w_r = w_r / torch.linalg.matrix_norm(w_r)
    m = z @ w_q.T - (z @ w_r.T + model.positional_logits(z.shape[:2]))
    return _contrastive(m.flatten(0, 1), z.flatten(0, 1), w_q, hypotheses, noise, settings)


def _contrastive(
    m: Tensor,
    z: Tensor,
    w_q: Tensor,
    hypotheses: Tensor,
    noise: Tensor,
    settings: RectifySettings | DistillSettings,
) -> Tensor:
    """Return Eqs. 4 and 5 of one image: logits m (n, C), features z (n, D)."""
    soft = ((settings.gumbel_scale * m - noise.log()) / settings.gumbel_tau).softmax(dim=-1)
    hard = F.one_hot(soft.argmax(dim=-1), m.shape[1])
    losses = []
    for cls in range(m.shape[1]):
        mask = hard[:, cls] - soft[:, cls].detach() + soft[:, cls]
        pooled = (mask[:, None] * z).mean(dim=0)
        if hypotheses[cls]:
            target = torch.tensor(cls, device=z.device)
            losses.append(F.cross_entropy(w_q @ pooled / settings.tau, target))
    return torch.stack(losses).mean()


def class_map(logits: Tensor, patch: int, read: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the best class (H, W) of a photo from logits (C, h, w), a class at a time.

    patch: side of a cell. read: (H, W) of the image as read; size: (H, W) of the photo.
    """
    padded, grown = tuple(side * patch for side in logits.shape[1:]), []
    for one in logits:
        one = F.interpolate(one[None, None], size=padded, mode="bilinear")
        one = F.interpolate(one[..., : read[0], : read[1]], size=size, mode="bilinear")
        grown.append(one[0, 0])
    return torch.stack(grown).argmax(dim=0)


def distillation_loss(
    student: Student,
    image: Tensor,
    labels: Tensor,
    z: Tensor,
    w_q: Tensor,
    hypotheses: Tensor,
    noise: Tensor,
    settings: DistillSettings,
) -> Tensor:
    """Return the loss of one view (Eqs. 6 to 8).

    image (3, H, W), labels int64 (H, W) without ignored pixels, z (D, h, w), hypotheses bool (C,),
    noise: exponential (cells, C).
    """
    feature = student.deeplab(image[None])
    unit = F.normalize(feature, dim=1)
    logits = student.head(unit)
    pixels = labels.shape
    grown = F.interpolate(logits * student.head.logit_scale, size=pixels, mode="bilinear")
    mask = F.cross_entropy(grown, labels[None])
    size = pixels if settings.feature_resolution == "image" else unit.shape[-2:]
    ours, teacher = (F.interpolate(x, size=size, mode="bilinear") for x in (unit, z[None]))
    distance = (ours - teacher).abs().mean()
    tokens, m = (x[0].flatten(1).T for x in (unit, logits))
    text = _contrastive(m, tokens, w_q, hypotheses, noise, settings)
    return mask + settings.alpha * distance + settings.beta * text


def counts(
    predictions: list[np.ndarray], labels: list[np.ndarray], classes: int, bins: int
) -> list[np.ndarray]:
    """Return the counts of an evaluation: a loop over photos and classes.

    These are the confusion matrix (C, C); the objects (bins,), intersections and unions (C, bins)
    by distance of the object; and right, predicted and labelled pixels (bins, 3, C) by ring.
    """
    confusion = np.zeros((classes, classes), np.int64)
    objects = np.zeros(bins, np.int64)
    both, either = np.zeros((2, classes, bins), np.int64)
    rings = np.zeros((bins, 3, classes), np.int64)
    for pred, label in zip(predictions, labels, strict=True):
        height, width = label.shape
        y, x = np.ogrid[:height, :width]
        # Twice the offset from the centre and squared, as whole numbers.
        squares = (2 * y - height + 1) ** 2 + (2 * x - width + 1) ** 2
        diagonal = height**2 + width**2
        ring = np.zeros(label.shape, int)
        for k in range(1, bins):
            ring += squares * bins**2 >= k**2 * diagonal
        counted = label != 255
        for cls in range(classes):
            region, predicted = label == cls, (pred == cls) & counted
            confusion[cls] += np.bincount(pred[region], minlength=classes)
            for k, map_ in enumerate((region & predicted, predicted, region)):
                rings[:, k, cls] += np.bincount(ring[map_], minlength=bins)
            if region.any():
                rows, columns = np.nonzero(region)
                centre = rows.mean() - (height - 1) / 2, columns.mean() - (width - 1) / 2
                distance = np.hypot(*centre) / (np.hypot(height, width) / 2)
                at = min(int(distance * bins), bins - 1)
                objects[at] += 1
                both[cls, at] += (region & predicted).sum()
                either[cls, at] += (region | predicted).sum()
    return [confusion, objects, both, either, rings]
