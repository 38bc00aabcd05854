"""Text embeddings: the fixed Query ensemble and the learnable Reference (Secs. 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from reclip.common.errors import ReclipError

if TYPE_CHECKING:
    from open_clip.model import CLIP
    from open_clip.transformer import ResidualAttentionBlock

    from reclip.clip.load import Clip

OFFICIAL_SLOTS = 3


@torch.no_grad()
def query_embeddings(
    clip: Clip, classes: Sequence[Sequence[str]], templates: Sequence[str], batch_size: int = 256
) -> Tensor:
    """Return the Query text embeddings W_q (C, D) of unit length, float32 on the device of `clip`.

    Each prompt's embedding is L2-normalised. The prompts of a class are averaged, and the mean is
    L2-normalised.

    Args:
        classes: the names (synonyms) of each class.
        templates: strings with one `{}`.
    Raises ReclipError: a prompt is longer than the text tower's context, or the embedding of a
        class is no usable vector.
    """
    model, tokenizer = clip.model, clip.tokenizer
    prompts = [
        template.format(name) for names in classes for name in names for template in templates
    ]
    lengths = torch.tensor([len(tokenizer.encode(prompt)) + 2 for prompt in prompts])
    longest = int(lengths.argmax())
    if lengths[longest] > clip.context_length:
        raise ReclipError(
            f"The prompt {prompts[longest]!r} has {lengths[longest]} tokens, but CLIP's text tower "
            f"reads {clip.context_length}. Shorten the class name or the template."
        )
    tokens = tokenizer(prompts)
    embedded = torch.empty(len(prompts), clip.embed_dim, device=clip.device)
    # Prompts of about one length share a batch, cut after its longest.
    for batch in lengths.argsort(stable=True).split(batch_size):
        rows, end = tokens[batch].to(clip.device), (lengths[batch] - 1).to(clip.device)
        found = encode_tokens(model, rows[:, : int(end.max()) + 1], end)
        embedded[batch.to(clip.device)] = found.float()
    embedded = F.normalize(embedded, dim=-1)
    per_class = embedded.split([len(names) * len(templates) for names in classes])
    found = F.normalize(torch.stack([e.mean(0) for e in per_class]), dim=-1)
    usable = (found.norm(dim=-1) - 1).abs() < 0.1  # a comparison with NaN is False
    if not usable.all():
        raise ReclipError(
            f"CLIP's text embedding of {classes[int(usable.int().argmin())][0]!r} is no usable "
            f"vector (NaN, infinite or zero). Get the CLIP weights again, or set another "
            f"clip.checkpoint or clip.pretrained."
        )
    return found


def encode_tokens(model: CLIP, tokens: Tensor, end: Tensor) -> Tensor:
    """Return raw text embeddings (N, D) of tokens (N, n), read at position `end` (N,) of each.

    The tokens may be cut after the last end token: attention is causal, so the padding after it
    changes nothing.
    """
    n = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:n]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:n, :n]))
    return x[torch.arange(len(x), device=x.device), end] @ model.text_projection


class ReferenceEncoder(nn.Module):
    """Embeds [SOS][v_1]…[v_L][class name][EOT] for every class; v is learnable and shared (Eq. 1).

    The start token and v are the same for all classes, and attention is causal. So they are
    computed once, and each class computes only its own few tokens against them. This gives the
    same numbers with 11 to 22 times fewer operations than whole sequences (VOC to ADE20K).

    A class with several names is embedded by its first. The one parameter is `prompt` (L, text
    width). The text tower stays frozen and outside the state dict.

    Args:
        length: L, 73 in the paper (Sec. 3.2). If the longest class name leaves less room in the
            context, L is smaller for all classes: see the attribute `length`.
        class_slots: "any" takes names of any number of tokens and reads each at its end token.
            "official" is the official code's rule: three slots for the name and its end token,
            read at the largest token id. So a name of three tokens loses its end token, and a
            longer one also its last tokens.
        words: initial prompt: the embeddings of these words, one per token, instead of L copies of
            token 0 (official code).
    Raises ReclipError: a name leaves no room for the prompt.
    """

    def __init__(
        self,
        clip: Clip,
        classes: Sequence[Sequence[str]],
        length: int = 73,
        class_slots: Literal["any", "official"] = "any",
        words: str | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip
        tokenizer = clip.tokenizer
        if class_slots == "official":
            rows = tokenizer([names[0] for names in classes])[:, 1 : 1 + OFFICIAL_SLOTS]
            end = rows.argmax(dim=1)
        else:
            named = [[*tokenizer.encode(names[0]), tokenizer.eot_token_id] for names in classes]
            end = torch.tensor([len(row) - 1 for row in named])
            rows = pad_sequence([torch.tensor(row) for row in named], batch_first=True)

        start_ids = [0] * length if words is None else tokenizer.encode(words)
        self.length = min(len(start_ids), clip.context_length - 1 - rows.shape[1])
        if self.length < 1:
            raise ReclipError(
                f"The class name {classes[int(end.argmax())][0]!r} fills the "
                f"{clip.context_length} tokens of CLIP's text tower and leaves no room for the "
                f"Reference prompt. Shorten the name."
            )
        embed = clip.model.token_embedding
        ids = [tokenizer.sot_token_id, *start_ids[: self.length]]
        prefix = embed(torch.tensor(ids, device=clip.device))
        self.prompt = nn.Parameter(prefix[1:].clone())
        shared, self.slots = len(ids), rows.shape[1]
        places, names = clip.model.positional_embedding, embed(rows.to(clip.device))
        names = (names + places[shared : shared + self.slots]).flatten(0, 1)
        end = end.to(clip.device)
        ends = shared + self.slots * torch.arange(len(end), device=clip.device) + end
        own = torch.arange(self.slots, device=clip.device)
        # What no step changes.
        self.register_buffer("start", prefix[:1], persistent=False)
        self.register_buffer("places", places[:shared].clone(), persistent=False)
        self.register_buffer("names", names, persistent=False)
        self.register_buffer("ends", ends, persistent=False)  # rows of the tokens that are read
        self.register_buffer("later", own > own[:, None], persistent=False)
        self.register_buffer("behind_end", own > end[:, None, None], persistent=False)

    def forward(self) -> Tensor:
        """Return Reference embeddings (C, D), not normalised, differentiable in `prompt`."""
        model, shared = self.clip.model, len(self.places)
        *blocks, last = model.transformer.resblocks
        x = torch.cat([torch.cat([self.start, self.prompt]) + self.places, self.names])
        for block in blocks:
            x = _all_tokens(block, x, shared, self.later)
        read = _end_tokens(last, x, shared, self.ends, self.behind_end)
        return model.ln_final(read) @ model.text_projection


def _all_tokens(block: ResidualAttentionBlock, x: Tensor, shared: int, later: Tensor) -> Tensor:
    """Apply one causal block to x (shared + C*slots, width): C sequences with a shared start.

    later: bool (slots, slots), as for `_gather`.
    """
    prefix, names = _queries_keys_values(block, x, shared, later.shape[-1])
    q, k, v = prefix.permute(1, 2, 0, 3)
    own_q, *own = names.permute(2, 3, 0, 1, 4)
    first = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    rest = _gather(own_q, (k, v), own, later).flatten(1, 2)
    return _finish(block, x, torch.cat([first, rest], dim=1))


def _end_tokens(
    block: ResidualAttentionBlock, x: Tensor, shared: int, ends: Tensor, later: Tensor
) -> Tensor:
    """Apply the last block; return the C tokens in the rows `ends` of x, (C, width).

    Nothing else of it is read, so the other tokens give only their keys and values.
    later: bool (C, 1, slots), as for `_gather`.
    """
    slots = later.shape[-1]
    prefix, names = _queries_keys_values(block, x, shared, slots)
    _, *given = prefix.permute(1, 2, 0, 3)
    q, *own = names.permute(2, 3, 0, 1, 4)
    q = q.flatten(1, 2).index_select(1, ends - shared).unsqueeze(2)
    read = _gather(q, given, own, later).flatten(1, 2)
    return _finish(block, x.index_select(0, ends), read)


def _queries_keys_values(
    block: ResidualAttentionBlock, x: Tensor, shared: int, slots: int
) -> tuple[Tensor, Tensor]:
    """Return those of the shared tokens (shared, 3, heads, d) and of the names (C, slots, ...)."""
    attention = block.attn
    qkv = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    tokens = qkv.unflatten(-1, (3, attention.num_heads, -1))
    prefix, names = tokens.split([shared, len(tokens) - shared])
    return prefix, names.unflatten(0, (-1, slots))


def _gather(q: Tensor, shared: Sequence[Tensor], own: Sequence[Tensor], later: Tensor) -> Tensor:
    """Return what tokens of the names gather from the shared start and from their own name.

    Args:
        q: queries (heads, C, m, d) of m tokens of each name; the result has the same shape.
        shared: keys and values, each (heads, shared, d).
        own: keys and values, each (heads, C, slots, d).
        later: bool, broadcast to (C, m, slots); True for own tokens behind the one that looks.
    """
    (k, v), (own_k, own_v) = shared, own
    to_shared = (q.flatten(1, 2) @ k.transpose(1, 2)).unflatten(1, q.shape[1:3])
    to_own = (q @ own_k.transpose(2, 3)).masked_fill(later, -torch.inf)
    scores = torch.cat([to_shared, to_own], dim=-1)
    weights = (scores * q.shape[-1] ** -0.5).softmax(dim=-1)
    of_shared, of_own = weights.split([k.shape[1], own_k.shape[2]], dim=-1)
    return (of_shared.flatten(1, 2) @ v).view_as(q) + of_own @ own_v


def _finish(block: ResidualAttentionBlock, x: Tensor, gathered: Tensor) -> Tensor:
    """Return the rest of the block on tokens x (n, width) that gathered (heads, n, d)."""
    x = x + block.attn.out_proj(gathered.transpose(0, 1).flatten(1))
    return x + block.mlp(block.ln_2(x))
