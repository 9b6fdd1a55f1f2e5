"""Which pictures go through a network together."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from carsclf.serving.batching import Batcher, Gate
from carsclf.serving.deployment import Said
from tests.serving.conftest import LIMITS


def test_a_batch_is_of_one_model() -> None:
    """Whatever order the pictures come in, each is answered by the model that prepared it."""
    batches: list[tuple[str, list[int]]] = []

    def named(name: str) -> Any:
        def say(pictures: torch.Tensor) -> list[Said]:
            batches.append((name, pictures[:, 0].tolist()))
            return [Said(np.array([ord(name), row[0]], np.float32), None) for row in pictures]

        return SimpleNamespace(say=say)

    models = {name: named(name) for name in "ab"}
    batcher = Batcher(Gate(LIMITS), max_batch=3, max_delay=0.0)  # its thread is not started

    async def scene() -> list[list[Said]]:
        asked = [
            batcher.predict(models[name], [torch.tensor([float(i)])])
            for i, name in enumerate("aabaaaabb")
        ]
        batcher.stop()
        batcher._work()  # ends at the stop, having answered all before it
        return await asyncio.wait_for(asyncio.gather(*asked), 10)

    told = asyncio.run(scene())
    assert [(chr(int(one.probabilities[0])), one.probabilities[1]) for (one,) in told] == [
        (name, i) for i, name in enumerate("aabaaaabb")
    ]
    assert batches == [("a", [0, 1]), ("b", [2]), ("a", [3, 4, 5]), ("a", [6]), ("b", [7, 8])]
