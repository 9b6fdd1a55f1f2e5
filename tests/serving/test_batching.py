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
            seen = pictures[:, 0, 0, 0].tolist()
            batches.append((name, seen))
            return [Said(np.array([ord(name), i], np.float32), None) for i in seen]

        return SimpleNamespace(say=say)

    models = {name: named(name) for name in "ab"}
    gate = Gate(LIMITS)
    gate.pictures = 9  # those below
    batcher = Batcher(gate, max_batch=3, max_delay=0.0)  # its thread is not started

    async def scene() -> list[list[Said]]:
        asked = [
            batcher.predict(models[name], [torch.full((3, 1, 1), i)])
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


def test_each_of_two_threads_takes_its_half() -> None:
    """Else one would take all that waits, and the last of it would wait for twice as long."""
    sizes: list[int] = []

    def say(pictures: torch.Tensor) -> list[Said]:
        sizes.append(len(pictures))
        return [Said(np.zeros(2, np.float32), None) for _ in pictures]

    gate = Gate(LIMITS)
    gate.pictures = 7
    batcher = Batcher(gate, max_batch=16, max_delay=0.0, passes=2)
    model: Any = SimpleNamespace(say=say)
    threads = torch.get_num_threads()

    async def scene() -> None:
        asked = batcher.predict(model, [torch.zeros(3, 1, 1)] * 7)
        batcher.stop()
        batcher._work()
        await asyncio.wait_for(asked, 10)

    try:
        asyncio.run(scene())
        assert torch.get_num_threads() == -(-threads // 2)
    finally:
        torch.set_num_threads(threads)
    assert sizes == [4, 3]
    assert batcher._queue.get_nowait() is None, "the other thread ends too"
