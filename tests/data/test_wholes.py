"""Parts told as wholes: probabilities are sums, and what has no parts stays as it is."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from carsclf.data.wholes import Wholes

WHOLES = Wholes.of(["a", "b1", "c", "b2"], {"b1": "b", "b2": "b"})


@given(st.lists(st.floats(-50, 50), min_size=4, max_size=4))
def test_a_wholes_probability_is_the_sum_of_its_parts(logits: list[float]) -> None:
    said = WHOLES.logits(torch.tensor([logits])).softmax(1).numpy()[0]
    parts = softmax(np.array(logits, np.float32).astype(float))
    assert WHOLES.names == ["a", "b", "c"]
    np.testing.assert_allclose(said, [parts[0], parts[1] + parts[3], parts[2]], atol=1e-5)
    assert abs(said.sum() - 1) < 1e-5


def test_logits_of_any_size_leave_numbers() -> None:
    for far in (1e4, 1e30):
        for logits in ([far, -far, 0, -far], [-far, far, 0, far], [0, -far, -far, -far]):
            said = WHOLES.logits(torch.tensor([logits])).softmax(1)
            assert torch.isfinite(said).all()
            assert said.sum() == 1


def test_what_is_whole_itself_keeps_its_logit_to_the_bit() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 20
    assert torch.equal(WHOLES.logits(logits)[:, [0, 2]], logits[:, [0, 2]])
    plain = Wholes.of(["a", "b"], {"x": "y"})
    assert not plain.any
    assert plain.logits(logits) is logits


def test_targets_are_those_of_the_wholes() -> None:
    assert WHOLES.targets(torch.tensor([3, 0, 1, 2])).tolist() == [1, 0, 1, 2]


def test_a_part_may_be_called_as_its_whole() -> None:
    named = Wholes.of(["car", "front", "bus"], {"front": "car", "car": "car"})
    assert named.names == ["car", "bus"]
    assert named.logits(torch.zeros(1, 3)).softmax(1)[0].tolist() == [
        np.float32(2 / 3),
        np.float32(1 / 3),
    ]
