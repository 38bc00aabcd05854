"""A batch is split so that its parts add up to it, with the same noise."""

from __future__ import annotations

import pytest
import torch

from reclip.training.share import draw, split


@pytest.mark.parametrize("images", [1, 2, 7, 16])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("micro_batch", [None, 1, 4, 100])
def test_every_image_is_in_one_share(images: int, processes: int, micro_batch: int | None) -> None:
    shares = [split(images, rank, processes, micro_batch) for rank in range(processes)]
    assert len({len(of_rank) for of_rank in shares}) == 1  # or processes would wait for each other
    covered = []
    for at_once in zip(*shares, strict=True):  # a micro-batch
        sizes = [rows.stop - rows.start for rows in at_once]
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) <= (micro_batch or images)
        covered += [i for rows in at_once for i in range(rows.start, rows.stop)]
    assert covered == list(range(images))


def test_micro_batches_do_not_depend_on_the_processes() -> None:
    alone = split(10, 0, 1, 4)
    assert alone == [slice(0, 4), slice(4, 8), slice(8, 10)]
    for number, whole in enumerate(alone):
        rows = [split(10, rank, 3, 4)[number] for rank in range(3)]
        assert (rows[0].start, rows[-1].stop) == (whole.start, whole.stop)


def test_noise_is_exponential_and_comes_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    drawn = draw(7, (400, 3), torch.Generator().manual_seed(5))
    assert drawn.shape == (7, 400, 3) and drawn.min() > 0
    assert abs(drawn.mean() - 1) < 0.05 and abs(drawn.std() - 1) < 0.05
    assert torch.equal(drawn, draw(7, (400, 3), torch.Generator().manual_seed(5)))
    assert not torch.equal(drawn, draw(7, (400, 3), torch.Generator().manual_seed(6)))
    assert torch.equal(state, torch.get_rng_state())
