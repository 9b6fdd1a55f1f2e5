"""Rows of a head kept by name, in any order; merged, shared and new ones against worked values."""

from itertools import permutations

import pytest
import torch

from carsclf.data.mapping import ClassMapping
from carsclf.errors import CheckpointError
from carsclf.models.known_rows import Wanted, mean_rows, rows_by_name

HEADS = ("fc",)
BEFORE = ("a", "b", "c")


def linear(classes: int, seed: int, width: int = 5) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, width, generator=draw)
    return {"fc.weight": weight, "fc.bias": torch.randn(classes, generator=draw)}


def logits(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Each class for itself: a matrix product rounds otherwise with another number of columns."""
    rows = zip(state["fc.weight"], state["fc.bias"], strict=True)
    return torch.stack([(x * weight).sum(1) + bias for weight, bias in rows], 1)


X = torch.randn(7, 5, generator=torch.Generator().manual_seed(9))
OLD, STATE = logits(linear(3, 1), X), {"conv": torch.ones(2), **linear(3, 1)}


@pytest.mark.parametrize("names", [*permutations(["a", "b", "new", "c"])])
def test_known_classes_say_the_same_to_the_bit_in_any_order(names: tuple[str, ...]) -> None:
    own = linear(4, 2)
    state, rows = rows_by_name(STATE, own, HEADS, BEFORE, Wanted(names, True))
    for name, old in zip(BEFORE, range(3), strict=True):
        place = names.index(name)
        assert torch.equal(state["fc.weight"][place], STATE["fc.weight"][old])
        assert torch.equal(state["fc.bias"][place], STATE["fc.bias"][old])
    assert torch.equal(state["fc.weight"][names.index("new")], own["fc.weight"][names.index("new")])
    assert rows.new == ["new"]
    assert (len(rows.kept), rows.dropped) == (3, [])
    assert torch.equal(state["conv"], STATE["conv"])
    known = [names.index(name) for name in BEFORE]
    assert torch.equal(logits(state, X)[:, known], OLD)


def test_same_width_but_another_class() -> None:
    state, rows = rows_by_name(STATE, linear(3, 2), HEADS, BEFORE, Wanted(["c", "d", "a"], True))
    assert torch.equal(logits(state, X)[:, [2, 0]], OLD[:, [0, 2]])
    assert (rows.new, rows.dropped) == (["d"], ["b"])
    assert str(rows) == "2 rows kept by name, 1 new (d), 1 dropped (b)"


def test_renamed_classes_keep_their_rows() -> None:
    mapping = ClassMapping({"a": "A", "c": "C"})
    state, rows = rows_by_name(STATE, linear(3, 2), HEADS, BEFORE, Wanted("CbA", True, mapping))
    assert torch.equal(logits(state, X), OLD[:, [2, 1, 0]])
    assert rows.record() == {"kept": 3, "merged": [], "parts": [], "new": [], "dropped": []}


def test_merged_classes_begin_at_the_tangent_of_their_sum() -> None:
    mapping = ClassMapping({"a": "ac", "c": "ac"})
    state, rows = rows_by_name(
        STATE, linear(2, 2), HEADS, BEFORE, Wanted(["b", "ac"], True, mapping)
    )
    said = logits(state, X)[:, 1]
    both = OLD[:, [0, 2]].logsumexp(1)
    assert rows.merged == ["ac"]
    assert (said <= both + 1e-5).all()  # Jensen: a tangent of a convex function lies below it
    alike = {"fc.weight": STATE["fc.weight"][[0, 1, 0]], "fc.bias": STATE["fc.bias"][[0, 1, 0]]}
    state, _ = rows_by_name(alike, linear(2, 2), HEADS, BEFORE, Wanted(["b", "ac"], True, mapping))
    torch.testing.assert_close(logits(state, X)[:, 1], logits(alike, X)[:, [0, 2]].logsumexp(1))


def test_parts_of_a_known_class_have_together_what_it_had() -> None:
    mapping = ClassMapping(report={"b front": "b", "b inside": "b"})
    names = ["b front", "a", "b inside", "c"]
    state, rows = rows_by_name(STATE, linear(4, 2), HEADS, BEFORE, Wanted(names, True, mapping))
    said, before = logits(state, X).softmax(1), OLD.softmax(1)
    torch.testing.assert_close(said[:, 0] + said[:, 2], before[:, 1])
    torch.testing.assert_close(said[:, [1, 3]], before[:, [0, 2]])
    assert (rows.parts, rows.dropped) == (["b front", "b inside"], [])


def test_heads_that_do_not_fit() -> None:
    with pytest.raises(CheckpointError, match=r"none of 2 classes is one of the run's 3 \(a, b, c"):
        rows_by_name(STATE, linear(2, 2), HEADS, BEFORE, Wanted(["x", "y"], True))
    with pytest.raises(CheckpointError, match=r"fc.weight is 3 x 5 in that run, .* 4 x 9"):
        rows_by_name(STATE, linear(4, 2, 9), HEADS, BEFORE, Wanted("abcd", True))


def blobs(shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of four classes, and pictures of the last, all moved by `shift`."""
    draw = torch.Generator().manual_seed(3)
    means = 4 * torch.randn(4, 6, generator=draw) + shift
    return means, means[3] + 0.1 * torch.randn(20, 6, generator=draw)


def grown(shift: float = 0.0, gauge: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of each class mean, and of new pictures, after a fourth class was added.

    gauge: added to every row, which no softmax of the old head can tell.
    """
    means, pictures = blobs(shift)
    weight, bias = torch.zeros(4, 6), torch.zeros(4)
    away = blobs()[0][:3] - blobs()[0][:3].mean(0)
    weight[:3] = away + gauge
    bias[:3] = -away @ (blobs()[0][:3].mean(0) + shift) + gauge
    new = pictures.mean(0, keepdim=True)
    mean_rows(weight, bias, known=[0, 1, 2], examples=means[:3], new=[3], means=new)
    return tuple((x @ weight.T + bias).softmax(1) for x in (means, pictures))  # type: ignore[return-value]


def test_new_rows_at_class_means_know_their_pictures_and_leave_the_others() -> None:
    means, pictures = grown()
    assert means.argmax(1).tolist() == [0, 1, 2, 3]
    assert (pictures.argmax(1) == 3).all()


@pytest.mark.parametrize(("shift", "gauge"), [(5.0, 0.0), (0.0, 2.0), (-3.0, 1.0)])
def test_they_do_not_depend_on_the_origin_of_features_nor_on_what_all_rows_share(
    shift: float, gauge: float
) -> None:
    for plain, moved in zip(grown(), grown(shift, gauge), strict=True):
        torch.testing.assert_close(plain, moved, atol=1e-3, rtol=1e-3)


def test_a_new_row_worked_by_hand() -> None:
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [9.0, 9.0]])
    bias = torch.tensor([0.5, 0.1, 9.0])
    examples = torch.tensor([[3.0, 1.0], [1.0, 1.0]])  # centre (2, 1), each rises by 1 there
    mean_rows(
        weight, bias, known=[0, 1], examples=examples, new=[2], means=torch.tensor([[2.0, 3.0]])
    )
    assert weight[2].tolist() == [0.0, 0.5]  # from (2, 1) to (2, 3) it rises by 1
    assert bias[2] == pytest.approx(0.3 - 0.5)  # at the centre as the mean of the others
    assert weight[:2].tolist() == [[1.0, 0.0], [-1.0, 0.0]]
