"""What the probes and the measurements came to, as the choice reads it."""

from dataclasses import dataclass

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

    def answer(self, size: int) -> float:
        """Milliseconds of one answer at that size, which go with the pixels."""
        return self.answer_ms * (size / self.rates.size) ** 2


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
            )
        )
    return sorted(found, key=lambda one: (one.whole, one.top1), reverse=True)


def counts_of(folder: AdviceFolder) -> Counts:
    images = read_json(folder.look)["images"]
    return Counts(*(int(images.get(split, 0)) for split in ("train", "val", "test")))
