"""The plan for the hours that are left: what is trained, how it was chosen, and how it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from carsclf.advising.times import Pace
from carsclf.analysis.comparison import Interval
from carsclf.errors import ConfigError, nearest
from carsclf.figures.cost import hours as told_hours
from carsclf.files import JsonRecord
from carsclf.options.command_line import PLAIN, quoted

VIEWS = "mode.views="
OF_EPOCHS = (
    *("augmentation", "mixing", "averaging", "resizing", "unfreezing"),
    *("data.sampling", "trainer.gradient_clip_val"),
)
"""Groups and options of a training by epochs, which a head that is solved for does not take."""
SAME = "frozen as good"
"""What a plan's `verdict` says where fine-tuning is not expected to be as good."""


@dataclass(frozen=True)
class Choice:
    """One way to spend the time that is left, with what it will probably come to.

    top1, low, high: on test, in [0, 1], with a 95 % interval; None where nothing was tried of it.
    rests: on what. seconds: of the training alone.
    """

    network: str
    weights: str
    mode: str
    image_size: int
    epochs: int
    seconds: float
    top1: float | None = None
    low: float | None = None
    high: float | None = None
    rests: str = ""
    pooling: str = "default"
    penalty: float | None = None
    boundary: str = ""
    """Of mode=partial: what lies below is frozen, and its outputs are kept."""
    views: list[str] = field(default_factory=list)
    """Of mode=partial: overrides, of how many views are kept and how they change."""
    rate: float | None = None
    """`optimizer.lr`; None: a head's, which is solved for."""
    pace: dict[str, float] = field(default_factory=dict)
    """Of a training by epochs; see `carsclf.advising.times.Pace`."""

    @property
    def stem(self) -> str:
        """Its name without a rate."""
        length = "" if self.mode == "freeze" else f"-{self.epochs}"
        many = "".join(f"-{o[len(VIEWS) :]}views" for o in self.views if o.startswith(VIEWS))
        return f"{self.network}-{self.mode}-{self.image_size}px{many}{length}"

    @property
    def name(self) -> str:
        """Of its run folder."""
        return self.stem + ("" if self.rate is None else f"-lr{self.rate:g}")

    @property
    def measured(self) -> Pace:
        return Pace(**self.pace)

    def after(self, given: Sequence[str]) -> list[str]:
        """What trains it: the overrides of an advice, as far as it takes them, and its own."""
        return [*(for_heads(given) if self.mode == "freeze" else given), *self.overrides]

    @property
    def overrides(self) -> list[str]:
        """What trains it, behind the overrides of an advice."""
        lines = [
            *(f"mode={self.mode}", f"model.name={self.network}"),
            *(f"model.weights={typed(self.weights)}", f"data.image_size={self.image_size}"),
        ]
        if self.mode == "freeze":
            lines += [f"mode.pool={self.pooling}", "trainer.precision=32-true"]
            if self.penalty is not None:
                lines.append(f"optimizer.weight_decay={self.penalty}")
            return lines
        if self.mode == "partial":
            lines += [f"mode.boundary={self.boundary}", *self.views]
        if self.rate is not None:
            lines.append(f"optimizer.lr={self.rate:g}")
        return [*lines, f"trainer.max_epochs={self.epochs}"]

    def expecting(self, likely: Interval, rests: str) -> "Choice":
        return replace(self, top1=likely.value, low=likely.low, high=likely.high, rests=rests)


@dataclass(frozen=True)
class AdvicePlan(JsonRecord):
    """plan.json: the choice, what it was chosen among, and what was asked of it."""

    chosen: dict[str, Any]
    """A Choice."""
    overrides: list[str]
    """What `train.py` takes to repeat the training, or `tune.py` the study."""
    search_hours: float | None
    """Of a study, of which the training is the first; None: a training alone."""
    verdict: str
    why: str
    considered: list[dict[str, Any]]
    left: float
    """Seconds that were left when it was made."""
    reserve: float
    """Seconds that judging and the page keep."""
    asked: dict[str, Any] = field(default_factory=dict)
    """Of `plan` in the configuration, what is no null."""

    @property
    def choice(self) -> Choice:
        return Choice(**self.chosen)

    @property
    def choices(self) -> list[Choice]:
        return [Choice(**one) for one in self.considered]


def for_heads(given: Sequence[str]) -> list[str]:
    """Of a training's overrides, those that a head on plain pictures takes as well."""
    keys = [(one, f"{one.lstrip('+~').partition('=')[0]}.") for one in given]
    return [one for one, key in keys if not key.startswith(tuple(f"{o}." for o in OF_EPOCHS))]


def typed(text: str) -> str:
    """Text as Hydra takes it, in quotes only where it needs them."""
    return text if PLAIN.fullmatch(text) else quoted(text)


def asked_of(plan: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of a plan somebody decided."""
    return {key: value for key, value in (plan or {}).items() if value is not None}


def check_asked(asked: Mapping[str, Any], networks: Sequence[str]) -> None:
    """Refuses a network that was not probed, and epochs of what has none."""
    network = asked.get("network")
    if network is not None and network not in networks:
        raise ConfigError(
            f"plan.network={network} is none of the candidates that were probed: "
            f"{nearest(network, networks)}"
        )
    if asked.get("mode") == "freeze" and "image_size" in asked:
        raise ConfigError(
            f"plan.image_size={asked['image_size']}: heads were probed on features of "
            "data.image_size: remove it, or take plan.mode=finetune"
        )
    if asked.get("mode") == "freeze" and "epochs" in asked:
        raise ConfigError(
            f"plan.epochs={asked['epochs']}: a head on frozen features is solved for, and has no "
            "epochs: remove it, or take plan.mode=finetune"
        )


def check_latency(answers: Mapping[str, float], latency: float | None) -> None:
    """Raises ConfigError with the nearest where nothing answers within so many milliseconds."""
    if latency is None or not answers or min(answers.values()) <= latency:
        return
    name = min(answers, key=lambda one: answers[one])
    raise ConfigError(
        f"latency_ms={latency:g}: nothing that was probed answers so fast here; the nearest is "
        f"{name} with about {answers[name]:.3g} ms: give that, or a smaller data.image_size"
    )


def decide(choices: Sequence[Choice]) -> tuple[Choice, str, str]:
    """The choice, a verdict in a word or two, and why; at least one is a frozen head or a training.

    The frozen head stays where fine-tuning is expected below its interval. Where it cannot be told
    from it, the time that is there tells: the head is judged beside it in any case.
    """
    known = [one for one in choices if one.top1 is not None]
    frozen = [one for one in known if one.mode == "freeze"]
    others = [one for one in known if one.mode != "freeze"]
    best = max(others, key=lambda one: one.top1 or 0, default=None)
    head = max(frozen, key=lambda one: one.top1 or 0, default=None)
    if best is None:
        assert head is not None
        return head, "frozen", "no fine-tuning fits into the time that is left"
    if head is None:
        return best, best.mode, "as asked"
    gain = 100 * ((best.top1 or 0) - (head.top1 or 0))
    if (best.top1 or 0) < (head.low or 0):
        why = (
            f"fine-tuning would probably reach {_accuracy(best)} only, and the frozen head "
            f"{_accuracy(head)}"
        )
        return head, SAME, why
    if (best.top1 or 0) <= (head.high or 0):
        why = (
            f"it will probably reach {_accuracy(best)}, which the pictures here cannot tell from "
            f"the frozen head's {_accuracy(head)}; there is time for it, so the better of both on "
            "validation is taken"
        )
        return best, best.mode, why
    why = (
        f"it will probably be {gain:.0f} points above the best frozen head, {head.network} at "
        f"{head.image_size} px with {_accuracy(head)}"
    )
    return best, best.mode, why


def _accuracy(choice: Choice) -> str:
    return f"{100 * (choice.top1 or 0):.1f} % [{100 * (choice.low or 0):.0f} to " \
           f"{100 * (choice.high or 0):.0f}]"  # fmt: skip


def told(plan: AdvicePlan, again: str) -> list[str]:
    """The plan as it is printed before it starts; again: the command that goes on with it."""
    one = plan.choice
    how = {"freeze": f"a head on frozen features (pooling {one.pooling})"}
    work = how.get(one.mode, f"{one.mode}, {one.epochs} epochs")
    if one.boundary:
        work += f", frozen up to {one.boundary}"
    ahead = told_hours(one.seconds / 3600)
    lines = [
        f"plan: {one.network} at {one.image_size} px, {work}; about {ahead} of the "
        f"{told_hours(max(0.0, plan.left) / 3600)} left",
        f"  expected on test: {_accuracy(one)}, from {one.rests}" if one.top1 is not None
        else "  expected on test: unknown, as nothing of it was tried",
        f"  why: {plan.why}",
    ]  # fmt: skip
    if plan.search_hours:
        lines.append(f"  then a search for the rest of {told_hours(plan.search_hours)}")
    others = [c for c in plan.choices if c.name != one.name and c.top1 is not None]
    lines += [f"  instead: {c.network} at {c.image_size} px, {c.mode}: {_accuracy(c)}"
              for c in others[:5]]  # fmt: skip
    return [
        *lines,
        f"  another one: {again} plan.network=... plan.mode=... plan.image_size=... "
        "plan.epochs=... (any of them)",
    ]
