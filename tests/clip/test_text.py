from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from reclip.clip.text import ReferenceEncoder, query_embeddings
from reclip.common.errors import ReclipError
from support.tiny_clip import tiny_clip

# One, two, three (BPE: sky-scra-per) and one tokens.
CLASSES = [["dog"], ["potted plant"], ["skyscraper"], ["sky", "heaven"]]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def whole_sequences(clip, encoder: ReferenceEncoder, prompt, rows, ends) -> torch.Tensor:
    """Return the embeddings of whole sequences, each through open_clip's text tower."""
    model = clip.model
    embed = model.token_embedding
    out = []
    for row, end in zip(rows, ends, strict=True):
        tokens = [*row, *[0] * (clip.context_length - 1 - len(prompt) - len(row))]
        start = embed(torch.tensor([clip.tokenizer.sot_token_id]))
        x = torch.cat([start, prompt, embed(torch.tensor(tokens))]) + model.positional_embedding
        x = model.transformer(x[None], attn_mask=model.attn_mask)[0]
        out.append(model.ln_final(x[1 + len(prompt) + end]) @ model.text_projection)
    return torch.stack(out)


def test_query_embeddings_are_the_plain_ensemble(clip):
    templates = ["{}.", "a very very small photo of the {}.", "a {}."]
    wanted = []
    for names in CLASSES:
        prompts = [t.format(name) for name in names for t in templates]
        embedded = clip.model.encode_text(clip.tokenizer(prompts), normalize=True)
        wanted.append(F.normalize(embedded.mean(0), dim=0))
    for batch_size in (256, 3):
        ours = query_embeddings(clip, CLASSES, templates, batch_size)
        torch.testing.assert_close(ours, torch.stack(wanted), rtol=0, atol=1e-5)
        assert not ours.requires_grad


def test_a_prompt_too_long_for_the_context(clip):
    with pytest.raises(ReclipError, match="'a b c d e f g h i j k l m dog' has 16 tokens") as info:
        query_embeddings(tiny_context(clip, 15), [["dog"]], ["a b c d e f g h i j k l m {}"])
    assert "reads 15" in str(info.value)
    query_embeddings(clip, [["dog"]], ["a b c d e f g h i j k l m {}"])


def tiny_context(clip, length: int):
    shorter = tiny_clip()
    shorter.context_length = length
    shorter.tokenizer.context_length = length
    return shorter


@pytest.mark.parametrize("class_slots", ["any", "official"])
def test_reference_equals_whole_sequences(clip, class_slots):
    encoder = ReferenceEncoder(clip, CLASSES, length=6, class_slots=class_slots)
    assert encoder.length == 6
    encoder.prompt.data.normal_(generator=torch.Generator().manual_seed(1))
    rows = [[*clip.tokenizer.encode(names[0]), clip.tokenizer.eot_token_id] for names in CLASSES]
    assert [len(row) for row in rows] == [2, 3, 4, 2]
    ends = [len(row) - 1 for row in rows]
    if class_slots == "official":  # the third name loses its end token
        rows = [row[:3] for row in rows]
        ends = [max(range(len(row)), key=row.__getitem__) for row in rows]
    plain_prompt = encoder.prompt.detach().clone().requires_grad_()
    plain = whole_sequences(clip, encoder, plain_prompt, rows, ends)
    ours = encoder()
    torch.testing.assert_close(ours, plain, rtol=0, atol=2e-5)

    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    (ours * weight).sum().backward()
    (plain * weight).sum().backward()
    torch.testing.assert_close(encoder.prompt.grad, plain_prompt.grad, rtol=1e-4, atol=1e-4)
    assert plain_prompt.grad.abs().min() > 0
    assert all(p.grad is None for p in clip.model.parameters())


def test_the_prompt_starts_as_copies_of_token_0_and_is_the_only_parameter(clip):
    encoder = ReferenceEncoder(clip, CLASSES, length=5)
    token_0 = clip.model.token_embedding.weight[0]
    torch.testing.assert_close(encoder.prompt.detach(), token_0.repeat(5, 1))
    assert list(encoder.state_dict()) == ["prompt"]
    assert [name for name, _ in encoder.named_parameters()] == ["prompt"]


def test_a_long_name_shortens_the_prompt_for_all(clip):
    encoder = ReferenceEncoder(clip, CLASSES, length=73)
    assert encoder.length == 16 - 1 - 4  # start token; three tokens and the end token
    assert encoder().shape == (4, 12)


def test_no_room_for_the_prompt(clip):
    name = "a b c d e f g h i j k l m n"
    with pytest.raises(ReclipError, match=f"{name!r} fills the 16 tokens"):
        ReferenceEncoder(clip, [["dog"], [name]], length=73)


def test_classes_do_not_see_one_another(clip):
    pair = ReferenceEncoder(clip, [["dog"], ["potted plant"]], length=6)
    alone = ReferenceEncoder(clip, [["potted plant"]], length=6)
    torch.testing.assert_close(pair()[1:], alone(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_an_embedding_that_is_no_vector_is_refused(value):
    clip = tiny_clip()
    with torch.no_grad():
        clip.model.text_projection.fill_(value)
    with pytest.raises(ReclipError, match="text embedding of 'dog' is no usable vector"):
        query_embeddings(clip, CLASSES, ["{}."])
