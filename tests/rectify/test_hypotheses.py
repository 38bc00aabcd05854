"""Image-level hypotheses: threshold, fallback, and their file keyed by image id."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.rectify.hypotheses import (
    hypothesise,
    read_hypotheses,
    rises,
    scores_of,
    usual_scores,
    window_scores,
    winners,
    write_hypotheses,
)


def classes(found: torch.Tensor) -> list[list[int]]:
    return [row.nonzero().ravel().tolist() for row in found]


def test_classes_that_score_at_least_the_threshold() -> None:
    scores = torch.tensor([[23.0, 22.9, 30.0, 10.0]])
    assert classes(hypothesise(scores, 23.0, 2)) == [[0, 2]]


def test_where_none_does_the_top_k() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 0.0], [1.0, 30.0, 2.0, 0.0]])
    assert classes(hypothesise(scores, 23.0, 2)) == [[1, 2], [1]]  # the second one passes
    assert classes(hypothesise(scores, 23.0, 9)) == [[0, 1, 2, 3], [1]]


# ---------------------------------------------------------------- relative, for any CLIP

SCORES = torch.tensor([[30.0, 21.0, 20.0], [20.0, 26.0, 19.0], [22.0, 22.0, 21.0]])
USUAL = SCORES.mean(0)  # 24, 23, 20


def test_a_score_is_as_large_as_it_rises_from_usual_to_the_best() -> None:
    found = rises(SCORES, USUAL)
    assert found[0].tolist() == pytest.approx([1, (21 - 23) / (30 - 23), 0])
    assert found[1].tolist() == pytest.approx([(20 - 24) / (26 - 24), 1, (19 - 20) / (26 - 20)])


def test_a_class_below_its_usual_score_is_no_hypothesis_in_a_poor_photo() -> None:
    """All scores are low here. The best classes are hypotheses, though they do not rise."""
    low = torch.tensor([[22.0, 22.0, 19.0]])
    assert rises(low, USUAL)[0].tolist() == pytest.approx([1, 1, -0.5])
    assert classes(hypothesise(rises(low, USUAL), 0.6, 1)) == [[0, 1]]
    above = torch.tensor([[21.0, 22.5, 20.0]])  # the first class' usual score is above the best
    assert rises(above, USUAL)[0, 0] == 0


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 20.0), (0.1, -3.0)])
def test_the_scale_of_the_scores_does_not_matter(scale: float, shift: float) -> None:
    """Those of one CLIP lie around 20, of another around 45."""
    generator = torch.Generator().manual_seed(0)
    scores = 20 + 3 * torch.randn(50, 6, generator=generator)
    other = scale * scores + shift
    wanted = hypothesise(rises(scores, scores.mean(0)), 0.6, 1)
    found = hypothesise(rises(other, other.mean(0)), 0.6, 1)
    assert (found == wanted).all() and found.any(1).all() and found.sum(1).float().mean() > 1


def test_one_photo_and_equal_scores_have_a_hypothesis() -> None:
    one = torch.tensor([[20.0, 25.0]])
    assert classes(hypothesise(rises(one, one[0]), 0.6, 1)) == [[1]]
    same = torch.full((2, 3), 20.0)
    assert hypothesise(rises(same, same[0]), 0.6, 1).all()


def test_the_usual_score_is_the_mean_over_all_shards() -> None:
    shards = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])]
    features = SimpleNamespace(globals=lambda split: iter(shards))
    assert usual_scores(features, torch.eye(2)).tolist() == pytest.approx([100 / 3, 200 / 3])


# ---------------------------------------------------------------- on windows


def test_each_class_that_wins_a_window_is_a_hypothesis() -> None:
    scores = torch.tensor([[1.0, 9.0, 2.0, 8.9], [3.0, 1.0, 2.0, 2.9], [0.0, 5.0, -1.0, 4.9]])
    assert winners(scores).nonzero().ravel().tolist() == [0, 1]
    assert winners(torch.tensor([[-3.0, -2.0, -4.0]])).tolist() == [False, True, False]


def test_windows_are_scored_by_their_cosine() -> None:
    vectors = [torch.tensor([[9.0, 0.0], [0.1, 0.1]]), torch.tensor([[-2.0, 0.0]])]
    features = SimpleNamespace(window_globals=lambda split: iter(vectors))
    first, second = window_scores(features, "val", torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    assert first.flatten().tolist() == pytest.approx([100, 60, 100 / 2**0.5, 140 / 2**0.5])
    assert second.flatten().tolist() == pytest.approx([-100, -60])


def test_a_window_whose_score_is_not_finite_names_the_photo() -> None:
    vectors = [torch.ones(3, 2), torch.tensor([[1.0, 0.0], [float("nan"), 1.0]])]
    features = SimpleNamespace(
        window_globals=lambda split: iter(vectors), ids=lambda split: ["x", "y"]
    )
    with pytest.raises(ReclipError, match="scores of photo 'y' are not finite"):
        list(window_scores(features, "train", torch.eye(2)))


# ---------------------------------------------------------------- the file


def test_hypotheses_are_looked_up_by_id_and_never_by_line(tmp_path: Path) -> None:
    found = torch.tensor([[True, False, True], [False, True, False]])
    write_hypotheses(tmp_path / "a.csv", ["x", "y"], found)
    assert (read_hypotheses(tmp_path / "a.csv", ["y", "x"], 3) == found.flip(0)).all()
    assert (read_hypotheses(tmp_path / "a.csv", ["y"], 3) == found[1:]).all()


def test_a_missing_id_is_one_sentence(tmp_path: Path) -> None:
    write_hypotheses(tmp_path / "a.csv", ["x"], torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ReclipError, match="has no row for image 'z'"):
        read_hypotheses(tmp_path / "a.csv", ["x", "z"], 3)


@pytest.mark.parametrize("line", ["x,0 3", "x,-1"])
def test_a_class_out_of_range_is_one_sentence(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.csv").write_text(f"id,classes\n{line}\n")
    with pytest.raises(ReclipError, match="image 'x' has a class outside 0 to 2"):
        read_hypotheses(tmp_path / "a.csv", ["x"], 3)


def test_an_id_without_classes_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,classes\nx,\n")
    assert not read_hypotheses(tmp_path / "a.csv", ["x"], 3).any()


def test_each_id_has_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        write_hypotheses(tmp_path / "a.csv", ["x", "y"], torch.ones(1, 3, dtype=torch.bool))


def test_scores_that_are_not_finite_name_the_photo() -> None:
    shards = torch.tensor([[[1.0, 0.0]], [[float("nan"), 1.0]]])
    features = SimpleNamespace(globals=lambda split: iter(shards), ids=lambda split: ["x", "y"])
    with pytest.raises(ReclipError, match="scores of photo 'y' are not finite"):
        scores_of(features, "train", torch.eye(2))
