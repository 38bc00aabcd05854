"""Measure how much time the Reference saves by encoding its prefix once, per number of classes.

    python benchmarks/reference_encoder.py

Both versions embed [SOS][v1..v73][class][EOT] for C classes with the text tower of ViT-B/16 (random
weights: time does not depend on them), forward and backward, on one thread. The plain version is
open_clip's transformer over every whole sequence; the outputs are compared first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from open_clip.factory import get_model_config
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer

from reclip.clip.load import Clip
from reclip.clip.text import ReferenceEncoder

REPEATS = 3
WORDS = ("red", "blue", "green", "small", "large", "old", "new", "wet", "dry", "hot", "cold", "dim")
THINGS = ("cat", "dog", "car", "bus", "tree", "road", "house", "chair", "table", "bird", "boat")


def plain(encoder: ReferenceEncoder) -> torch.Tensor:
    """Return the embeddings of whole sequences, one per class, through the transformer."""
    model = encoder.clip.model
    classes, slots, _ = encoder.suffix.shape
    prefix = torch.cat([encoder.start, encoder.prompt]).expand(classes, -1, -1)
    x = torch.cat([prefix, encoder.suffix], dim=1)
    length = x.shape[1]
    mask = model.attn_mask[:length, :length]
    x = model.transformer(x + model.positional_embedding[:length], attn_mask=mask)
    x = x[torch.arange(classes), length - slots + encoder.end]
    return model.ln_final(x) @ model.text_projection


def seconds(forward: Callable[[], torch.Tensor], prompt: torch.nn.Parameter) -> float:
    """Return the median time of a forward and backward pass."""
    times = []
    for _ in range(REPEATS + 1):
        prompt.grad = None
        began = time.perf_counter()
        forward().sum().backward()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = get_model_config("ViT-B-16")
    clip = Clip(CLIP(**config), SimpleTokenizer(), (0, 0, 0), (1, 1, 1))
    names = [[f"{word} {thing}"] for word in WORDS for thing in THINGS]
    print("| classes | plain, s | shared prefix, s | ratio |\n|---|---|---|---|")
    for count in (20, 59, 130):
        encoder = ReferenceEncoder(clip, names[:count])
        torch.testing.assert_close(encoder(), plain(encoder), rtol=1e-4, atol=1e-4)
        slow = seconds(lambda e=encoder: plain(e), encoder.prompt)
        fast = seconds(encoder, encoder.prompt)
        print(f"| {count} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} |", flush=True)


if __name__ == "__main__":
    main()
