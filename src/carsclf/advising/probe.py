"""Stage 3: linear heads on each candidate's frozen features, with more and more pictures."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from carsclf.advising.advice import CANDIDATES, PROBE, Advice, read_rows, say, write_table
from carsclf.advising.candidates import training_of
from carsclf.advising.frozen import frozen
from carsclf.analysis.comparison import wilson
from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.splits import Splits, share_of, shuffled
from carsclf.errors import CarsclfError, ConfigError, one_line

SHARES = (0.1, 1 / 3, 1.0)  # of the training pictures, a round each
LEAST, LEAST_JUDGED = 100, 1000  # pictures that a round trains on, and judges by
OF_HOURS = 0.3  # that probes may take
LEADER = 1 / 3  # of what is left, which the leader's may take beyond that
AROUND, HEADS = 1.3, 5.0  # times the network's seconds; seconds of the first heads
Row = dict[str, Any]


def probe(advice: Advice) -> None:
    """Writes probe.csv, cheapest candidates first; successive halving over pictures.

    After each round goes whose interval lies below the leader's (after Jamieson and Talwalkar
    2016, who halve; here the intervals say how many). Judged on validation. Where none of those
    that are left fits into the time, the cheapest goes on. Raises ConfigError where the hours do
    not hold that one.
    """
    found = read_rows(advice.folder.candidates, CANDIDATES)
    alive = sorted(
        (row for row in found if not row["skipped"]), key=lambda row: -row["predict_rate"]
    )
    work = Probing(advice, read_rows(advice.folder.probe, PROBE))
    shares = shares_of(len(work.data(alive[0]).splits["train"]))
    work.check(alive[0])
    cheapest = alive[0]
    leader = cheapest["name"]
    for share in shares:
        for candidate in alive:
            if work.row(candidate, share) is None:
                work.add(work.probed(candidate, share, leads=candidate["name"] == leader))
        if not any(work.known(candidate, share) for candidate in alive):
            alive = [c for c in alive if c != cheapest] + [cheapest]
            if not work.known(cheapest, share):
                work.forget(cheapest, share)
                work.add(work.probed(cheapest, share, surely=True))
        rows = [row for c in alive if (row := work.row(c, share))]
        leader = drop(rows, last=share == shares[-1])
        work.write()
        alive = [c for c, row in zip(alive, rows, strict=True) if not row["dropped"]]
    say(f"best probe: {told(best_of(work.rows))}")


def best_of(rows: Sequence[Row]) -> Row:
    """The row of the best head on all training pictures."""
    return max((row for row in rows if row["share"] == 1 and row["top1"] is not None), key=_top1)


def _top1(row: Row) -> float:
    return row["top1"]


def shares_of(pictures: int) -> list[float]:
    """The shares that hold enough pictures to tell anything."""
    return [share for share in SHARES if share == 1 or share * pictures >= LEAST]


def drop(rows: Sequence[Row], *, last: bool) -> str:
    """Notes whose interval lies below that of the best of a round; returns the best one's name.

    Raises ConfigError where none could be probed.
    """
    known = [row for row in rows if row["top1"] is not None]
    if not known:
        raise ConfigError(f"no candidate could be probed: {told(rows[0])}")
    leader = max(known, key=_top1)
    for row in known:
        if not last and row["high"] < leader["low"]:
            row["dropped"] = (
                f"at most {row['high']:.1%} with {row['images']} pictures, where "
                f"{leader['candidate']} has at least {leader['low']:.1%}"
            )
    return leader["candidate"]


@dataclass
class Probing:
    """The rows of probe.csv, as far as they are known, and what makes further ones."""

    advice: Advice
    rows: list[Row]
    _data: dict[int, CarsDataModule] = field(default_factory=dict)

    def data(self, candidate: Mapping[str, Any]) -> CarsDataModule:
        size = int(candidate["image_size"])
        if size not in self._data:
            self._data[size] = make_data(training_of(self.advice, candidate))[0]
        return self._data[size]

    def row(self, candidate: Mapping[str, Any], share: float) -> Row | None:
        of = (candidate["name"], round(share, 3))
        return next((r for r in self.rows if (r["candidate"], r["share"]) == of), None)

    def known(self, candidate: Mapping[str, Any], share: float) -> bool:
        """Whether its head is there."""
        row = self.row(candidate, share)
        return row is not None and row["top1"] is not None

    def forget(self, candidate: Mapping[str, Any], share: float) -> None:
        """Takes a row back that says why there is no head."""
        self.rows = [row for row in self.rows if row is not self.row(candidate, share)]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.write()
        say(told(row))

    def write(self) -> None:
        write_table(self.advice.folder.probe, self.rows, PROBE)
        self.advice.ledger.beat()

    def probed(
        self,
        candidate: Mapping[str, Any],
        share: float,
        *,
        leads: bool = False,
        surely: bool = False,
    ) -> Row:
        """A candidate's row: its best head with a share of the pictures, where there is time.

        leads: there is more for it; surely: even where there is none, as somebody has to go on.
        """
        parts, row = self.parts(candidate, share), dict.fromkeys(PROBE)
        row |= {"candidate": candidate["name"], "image_size": int(candidate["image_size"])}
        row |= {"share": round(share, 3), "images": len(parts["train"]), "dropped": ""}
        needed, left = self.seconds(candidate, share), self.left()
        if leads:
            left = max(left, LEADER * self.advice.ledger.left())
        if needed > left and not surely:
            short = (
                f"it would take about {needed:.0f} s, and {max(0, left):.0f} s are left for probes"
            )
            return row | {"dropped": short, "pooling": ""}
        began = time.perf_counter()
        try:
            head = frozen(training_of(self.advice, candidate), parts, self.data(candidate)).best()
        except (CarsclfError, RuntimeError, MemoryError) as error:
            return row | {"dropped": one_line(error), "pooling": ""}
        likely = wilson(int(head.right.sum()), len(head.right))
        return row | {
            "pooling": head.pooling,
            "penalty": head.penalty,
            "top1": likely.value,
            "low": likely.low,
            "high": likely.high,
            "seconds": round(time.perf_counter() - began, 2),
        }

    def parts(self, candidate: Mapping[str, Any], share: float) -> Splits:
        """The pictures of a round: those of a smaller one are among those of a larger one."""
        config, splits = self.advice.training, self.data(candidate).splits
        seed = config.seed if config.data.split_seed is None else config.data.split_seed
        shares = {"train": share, "val": max(share, min(1, LEAST_JUDGED / len(splits["val"])))}
        return {
            name: share_of(splits[name], shuffled(splits[name], seed, "probe"), of)
            for name, of in shares.items()
        }

    def seconds(self, candidate: Mapping[str, Any], share: float) -> float:
        """About how long it takes: pictures that no earlier round had, and heads."""
        pictures = sum(map(len, self.parts(candidate, share).values()))
        before = [s for s in SHARES if s < share and self.known(candidate, s)]
        seen = [0] + [sum(map(len, self.parts(candidate, s).values())) for s in before]
        known, heads = seen[-1], HEADS
        if before and (row := self.row(candidate, before[-1])):
            took = row["seconds"] - AROUND * (known - seen[-2]) / candidate["predict_rate"]
            heads = max(1.0, took) * pictures / known
        return AROUND * (pictures - known) / candidate["predict_rate"] + heads

    def left(self) -> float:
        """Seconds that probes may still take."""
        self.advice.ledger.beat()
        own = OF_HOURS * 3600 * self.advice.hours - self.advice.ledger.spent_at("probe")
        return min(own, self.advice.ledger.left())

    def check(self, cheapest: Mapping[str, Any]) -> None:
        """Raises ConfigError, before anything is probed, where not even this one can be.

        Once: after a kill less time is left, and features are there.
        """
        if self.advice.folder.probe.is_file():
            return
        needed, left, hours = self.seconds(cheapest, 1.0), self.left(), self.advice.hours
        if needed > left:
            enough = max(needed / OF_HOURS, needed + self.advice.ledger.spent()) / 3600
            raise ConfigError(
                f"hours={hours:g} ({3600 * hours:.0f} s) is too short: a probe of "
                f"{cheapest['name']} alone takes about {needed:.0f} s here, and probes get "
                f"{OF_HOURS:.0%} of the time: give hours={enough + 0.005:.2f} or more, or a "
                "smaller data.image_size"
            )
        self.write()


def told(row: Mapping[str, Any]) -> str:
    what = f"{row['candidate']}, {row['images']} pictures of {row['image_size']} px"
    if row["top1"] is None:
        return f"{what}: not probed: {row['dropped']}"
    return (
        f"{what}: frozen head {row['top1']:.1%} on validation ({row['low']:.1%} to "
        f"{row['high']:.1%}), pooling {row['pooling']}, penalty {row['penalty']:.2g}, "
        f"{row['seconds']:.1f} s"
    )
