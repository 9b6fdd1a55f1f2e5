"""What the probes and the measurements came to, as the choice reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carsclf.advising.advice import CANDIDATES, PROBE, AdviceFolder, read_json, read_rows
from carsclf.advising.times import Counts, Rates


@dataclass(frozen=True)
class Probed:
    """A candidate: its speeds here, and its best head on the most pictures it was given."""

    name: str
    weights: str
    rates: Rates
    answer_ms: float
    top1: float
    image_size: int
    pooling: str
    penalty: float
    whole: bool
    """Whether it saw all training pictures, and was not dropped."""
    seconds: float
    boundary: str = ""
    kept: Rates | None = None
    """Where it is frozen up to the boundary, and what that says is kept."""
    kept_bytes: int = 0
    """Of a picture at `rates.size`."""
    step_bytes: float = 0.0
    """Of a training step of `data.batch_size` pictures at `rates.size`; 0: nothing here tells."""

    def trained(self, mode: str) -> Rates:
        """Its speeds in a mode that it has."""
        rates = self.kept if mode == "partial" else self.rates
        assert rates is not None
        return rates

    def keeping(self, counts: Counts, views: int, size: int) -> float:
        """Seconds until all views of the training pictures are kept, and those of validation."""
        pixels = (size / self.rates.size) ** 2
        return (views * counts.train + counts.val) / self.rates.predict * pixels

    def room(self, counts: Counts, views: int, size: int) -> float:
        """Bytes that they take."""
        pixels = (size / self.rates.size) ** 2
        return (views * counts.train + counts.val) * self.kept_bytes * pixels

    def answer(self, size: int) -> float:
        """Milliseconds of one answer at that size, which go with the pixels."""
        return self.answer_ms * (size / self.rates.size) ** 2

    def memory(self, size: int) -> float:
        """Bytes of a training step at that size, were all of them to go with the pixels."""
        return self.step_bytes * (size / self.rates.size) ** 2


def read_probed(folder: AdviceFolder) -> list[Probed]:
    """All candidates with a head, the best first."""
    rates = {row["name"]: row for row in read_rows(folder.candidates, CANDIDATES)}
    rows = [row for row in read_rows(folder.probe, PROBE) if row["top1"] is not None]
    found = []
    for name in dict.fromkeys(str(row["candidate"]) for row in rows):
        own, speed = [row for row in rows if row["candidate"] == name], rates[name]
        row = max(own, key=lambda row: row["share"])
        found.append(
            Probed(
                name=name,
                weights=str(speed["weights"]),
                rates=Rates(int(speed["image_size"]), speed["train_rate"], speed["predict_rate"]),
                answer_ms=speed["answer_ms"],
                top1=row["top1"],
                image_size=int(row["image_size"]),
                pooling=row["pooling"],
                penalty=row["penalty"],
                whole=row["share"] >= 1 and not row["dropped"],
                seconds=sum(row["seconds"] for row in own),
                boundary=speed["boundary"] or "",
                kept=_kept(speed),
                kept_bytes=int(speed["kept_bytes"] or 0),
                step_bytes=1e6 * (speed["memory_mb"] or 0.0),
            )
        )
    return sorted(found, key=lambda one: (one.whole, one.top1), reverse=True)


def _kept(speed: Mapping[str, Any]) -> Rates | None:
    """Of pictures that only pass what is above the boundary: forward alone thrice as fast."""
    if not speed["kept_rate"]:
        return None
    return Rates(int(speed["image_size"]), speed["kept_rate"], 3 * speed["kept_rate"])


def counts_of(folder: AdviceFolder) -> Counts:
    images = read_json(folder.look)["images"]
    return Counts(*(int(images.get(split, 0)) for split in ("train", "val", "test")))
