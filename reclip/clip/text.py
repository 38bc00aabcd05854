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
        self.register_buffer("start", prefix[:1], persistent=False)
        self.register_buffer("suffix", embed(rows.to(clip.device)), persistent=False)
        self.register_buffer("end", end.to(clip.device), persistent=False)

    def forward(self) -> Tensor:
        """Return Reference embeddings (C, D), not normalised, differentiable in `prompt`."""
        model = self.clip.model
        classes, slots, _ = self.suffix.shape
        shared = 1 + self.length
        positions = model.positional_embedding[: shared + slots]
        prefix = torch.cat([self.start, self.prompt]) + positions[:shared]
        suffix = self.suffix + positions[shared:]
        x = torch.cat([prefix, suffix.flatten(0, 1)])
        for block in model.transformer.resblocks:
            x = _prefix_block(block, x, shared, slots)
        rows = shared + slots * torch.arange(classes, device=x.device) + self.end
        return model.ln_final(x[rows]) @ model.text_projection


def _prefix_block(block: ResidualAttentionBlock, x: Tensor, shared: int, slots: int) -> Tensor:
    """Apply one causal block to x (shared + C*slots, width): C sequences with a shared start."""
    attention = block.attn
    heads = attention.num_heads
    qkv = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3)  # each (heads, tokens, d)

    first = F.scaled_dot_product_attention(
        q[:, :shared], k[:, :shared], v[:, :shared], is_causal=True
    )
    q_own, k_own, v_own = (t[:, shared:].unflatten(1, (-1, slots)) for t in (q, k, v))
    to_shared = (q[:, shared:] @ k[:, :shared].transpose(1, 2)).unflatten(1, (-1, slots))
    to_own = q_own @ k_own.transpose(2, 3)  # (heads, C, slots, slots)
    future = torch.ones(slots, slots, dtype=torch.bool, device=x.device).triu(1)
    scores = torch.cat([to_shared, to_own.masked_fill(future, -torch.inf)], dim=-1)
    weights = (scores * q.shape[-1] ** -0.5).softmax(dim=-1)
    from_shared = weights[..., :shared].flatten(1, 2) @ v[:, :shared]
    rest = from_shared + (weights[..., shared:] @ v_own).flatten(1, 2)

    attended = torch.cat([first, rest], dim=1).transpose(0, 1).flatten(1)
    x = x + attention.out_proj(attended)
    return x + block.mlp(block.ln_2(x))
