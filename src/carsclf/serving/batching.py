"""Pictures of many requests go through the network together."""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from carsclf.models.pixels import stacked
from carsclf.serving.deployment import Said, Served
from carsclf.serving.refusal import Refusal
from carsclf.serving.settings import Limits


class Gate:
    """Counts what is between its arrival and its answer, and refuses what is too much of it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pictures = self.bytes = 0

    @contextmanager
    def entered(self, size: int) -> Iterator["Place"]:
        """For a request of so many bytes, before its body is read. Raises Refusal."""
        place = Place(self)
        try:
            place.take(1, size)
            yield place
        finally:
            self.pictures -= place.pictures
            self.bytes -= place.bytes

    def refuse(self, pictures: int, size: int) -> bool:
        most, most_bytes = self._limits.waiting, self._limits.waiting_bytes
        return self.pictures + pictures > most or self.bytes + size > most_bytes


@dataclass
class Place:
    """What one request holds of a gate."""

    gate: Gate
    pictures: int = 0
    bytes: int = 0

    def take(self, pictures: int, size: int = 0) -> None:
        if self.gate.refuse(pictures, size):
            raise Refusal(503, "too many pictures are waiting: come again")
        self.pictures += pictures
        self.bytes += size
        self.gate.pictures += pictures
        self.gate.bytes += size


@dataclass(frozen=True)
class Waiting:
    served: Served  # that prepared the picture, and answers it, whichever model came since
    picture: torch.Tensor
    answer: "asyncio.Future[Said]"


def passes_at_once(device: torch.device) -> int:
    """How many threads a network has: on a CPU two, of half the cores each.

    While one waits for the interpreter, which also reads requests, the other computes. Measured:
    benchmarks/serving.py.
    """
    return 2 if device.type == "cpu" and torch.get_num_threads() > 1 else 1


class Batcher:
    """Threads that run the network on what waits: up to `max_batch` pictures of one model each.

    They wait up to `max_delay` seconds after the first of them for others, though not where none is
    on its way: a lone client is answered at once, and while the network works the next batch
    gathers by itself. None takes more than its share of all that is to be answered, or the last
    would wait for a batch of twice the size.
    """

    def __init__(self, gate: Gate, max_batch: int, max_delay: float, passes: int = 1) -> None:
        self._gate, self._most, self._delay, self._passes = gate, max_batch, max_delay, passes
        self._cores = -(-torch.get_num_threads() // passes)  # of each
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self.answered = -math.inf  # when the network last did, by time.monotonic

    def start(self) -> None:
        for _ in range(self._passes):
            threading.Thread(target=self._work, name="network", daemon=True).start()

    def stop(self) -> None:
        self._queue.put(None)

    def predict(self, served: Served, pictures: list[torch.Tensor]) -> "asyncio.Future[list[Said]]":
        """For each picture, in order. Called in the event loop."""
        loop = asyncio.get_running_loop()
        waiting = [Waiting(served, picture, loop.create_future()) for picture in pictures]
        for item in waiting:
            self._queue.put(item)
        return asyncio.gather(*(item.answer for item in waiting))

    def _work(self) -> None:
        torch.set_num_threads(self._cores)  # of this thread
        item = self._queue.get()
        while item is not None:
            batch, item = self._gather(item)
            self._answer(batch)
            item = item or self._queue.get()
        self._queue.put(None)  # for the next thread

    def _gather(self, first: Waiting) -> tuple[list[Waiting], Waiting | None]:
        """A batch, and what was taken from the queue but belongs to another model's."""
        batch, until = [first], time.monotonic() + self._delay
        while len(batch) < min(self._most, -(-self._gate.pictures // self._passes)):
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                left = until - time.monotonic()
                if left <= 0 or self._gate.pictures <= len(batch):
                    break
                try:
                    item = self._queue.get(timeout=min(left, 0.001))
                except queue.Empty:
                    continue
            if item is None:
                self._queue.put(None)
                break
            if item.served is not first.served:
                return batch, item
            batch.append(item)
        return batch, None

    def _answer(self, batch: list[Waiting]) -> None:
        loop = batch[0].answer.get_loop()
        try:
            said = batch[0].served.say(stacked([item.picture for item in batch]))
            self.answered = time.monotonic()
        except Exception as error:  # of one batch; the next may fare better
            loop.call_soon_threadsafe(_fail, batch, error)
        else:
            loop.call_soon_threadsafe(_deliver, batch, said)


def _deliver(batch: list[Waiting], said: list[Said]) -> None:
    for item, each in zip(batch, said, strict=True):
        if not item.answer.done():
            item.answer.set_result(each)


def _fail(batch: list[Waiting], error: Exception) -> None:
    for item in batch:
        if not item.answer.done():
            item.answer.set_exception(error)
