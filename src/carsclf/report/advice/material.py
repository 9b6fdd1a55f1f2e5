"""What the stages of an advice left in its folder, read for its page."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from carsclf.advising.advice import (
    CANDIDATES,
    GROWTH,
    PROBE,
    Advice,
    finished_stages,
    read_json,
    read_table,
)
from carsclf.advising.carry_out import Judged, Outcome
from carsclf.advising.curve import CURVE
from carsclf.advising.plan import AdvicePlan, Choice
from carsclf.advising.probed import Probed, counts_of, read_probed
from carsclf.advising.times import Counts
from carsclf.analysis.comparison import Interval
from carsclf.analysis.forecast import Short, forecast


@dataclass(frozen=True)
class Material:
    """One advice, as its page tells it."""

    advice: Advice
    look: dict[str, Any]
    counts: Counts
    candidates: pd.DataFrame
    probe: pd.DataFrame
    probed: list[Probed]
    growth: dict[str, Any]
    draws: pd.DataFrame
    curve: pd.DataFrame
    plan: AdvicePlan
    outcome: Outcome
    stages: dict[str, Any]

    @classmethod
    def of(cls, advice: Advice) -> "Material":
        folder = advice.folder
        return cls(
            advice=advice,
            look=read_json(folder.look),
            counts=counts_of(folder),
            candidates=read_table(folder.candidates, CANDIDATES),
            probe=read_table(folder.probe, PROBE),
            probed=read_probed(folder),
            growth=read_json(folder.growth) if folder.growth.is_file() else {},
            draws=read_table(folder.growth_table, GROWTH),
            curve=read_table(folder.curve, CURVE),
            plan=AdvicePlan.read(folder.plan),
            outcome=Outcome.read(folder.outcome),
            stages=finished_stages(folder),
        )

    @property
    def winner(self) -> Judged:
        return Judged(**self.outcome.winner)

    @property
    def training(self) -> Judged:
        return Judged(**self.outcome.training)

    @property
    def head(self) -> Judged | None:
        return None if self.outcome.probe is None else Judged(**self.outcome.probe)

    def cost(self, model: Judged) -> float:
        """Seconds of a training; of a head those of its probe, whose features its run found."""
        own = (one.seconds for one in self.probed if one.name == model.network)
        return next(own, model.seconds) if model.mode == "freeze" else model.seconds

    @property
    def tuned(self) -> Choice | None:
        """The fine-tuning with the best forecast, planned or not."""
        known = [c for c in self.plan.choices if c.mode != "freeze" and c.top1 is not None]
        return max(known, key=lambda one: one.top1 or 0, default=None)

    def tried(self, choice: Choice) -> pd.DataFrame:
        """The rows of curve.csv that are of it, but for their epochs."""
        same = "network == @choice.network and mode == @choice.mode and rate == @choice.rate"
        return self.curve.query(same)

    def shorts(self, choice: Choice) -> list[Short]:
        """What was tried of it, and its whole training, where that was the plan."""
        table = self.tried(choice)
        columns = (table[name].tolist() for name in ("epochs", "top1", "images"))
        shorts = [Short(int(e), float(top1), int(n)) for e, top1, n in zip(*columns, strict=True)]
        if choice.name == self.plan.choice.name and not self.outcome.study:
            shorts.append(Short(self.training.epochs, self.training.val, self.counts.val))
        return shorts

    def foretold(self, choice: Choice, epochs: int, *, at_end: bool = True) -> Interval:
        """What so many epochs would reach; at_end: with the training itself as a point of it."""
        shorts = self.shorts(choice)
        if not at_end and len(shorts) > 1 and choice.name == self.plan.choice.name:
            shorts = [s for s in shorts if s.epochs < self.training.epochs] or shorts
        return forecast(shorts, epochs, self.outcome.images)
