"""Fine-tunings that fit into the time that is left, before any was tried."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import timm

from carsclf.advising.advice import Advice
from carsclf.advising.curve import finished
from carsclf.advising.plan import Choice
from carsclf.advising.probed import Probed
from carsclf.advising.shortcut import kept_views, of_views, room_on_disk
from carsclf.advising.times import (
    ENOUGH,
    PLENTY,
    SIZES,
    SPARE,
    Counts,
    Pace,
    best_size,
    most_epochs,
)
from carsclf.errors import ConfigError
from carsclf.figures.cost import hours
from carsclf.machine.memory import free_memory
from carsclf.training.trainer import device_of

DOUBT = 1.5
"""How much longer than the time left a training may seem before it was tried, and be tried."""


def fine_tunings(
    probed: Sequence[Probed],
    counts: Counts,
    advice: Advice,
    asked: Mapping[str, Any],
    reserve: float,
) -> list[Choice]:
    """One for each network and mode that fits, the most promising first.

    That is the one with ENOUGH epochs, then with the larger pictures, then with PLENTY of epochs,
    then the one of which all is trained, then with the better head. Raises ConfigError where none
    holds the epochs or takes the size that is asked for, and for mode=partial where nothing can be
    frozen so.
    """
    views = kept_views(advice) if any(one.kept for one in probed) else None
    if asked.get("mode") == "partial" and views is None:
        raise ConfigError(
            "plan.mode=partial: no candidate can be frozen half way here, or the training's own "
            "settings exclude it (resizing, unfreezing, cutmix): take plan.mode=finetune"
        )
    room = advice.ledger.left() * (1 - SPARE) - reserve
    found: list[tuple[Choice, float]] = []
    refused = _unfit_all(probed, advice, asked)
    for one in probed:
        options = [_whole(one, advice, counts, room, asked)]
        if one.kept and views:
            lines, many = views
            each = (_partial(one, lines, n, advice, counts, room, asked) for n in many)
            options.append(max(filter(None, each), key=_promise, default=None))
        for choice in options:
            if choice is None or asked.get("mode", choice.mode) != choice.mode:
                continue
            late = "epochs" in asked and choice.seconds > DOUBT * max(0.0, room)
            if late and not trained_before(advice, choice):
                fits = choice.measured.fits(room, most_epochs(counts.train))
                refused = refused or too_long(advice, choice, choice.measured, fits)
                continue
            found.append((choice, one.top1))
    if not found and refused:
        raise ConfigError(refused)
    if not found and asked.get("mode") == "partial":
        raise ConfigError(
            f"plan.mode=partial: {hours(max(0.0, room) / 3600)} and half of the free disk hold no "
            "training on what is kept: take plan.mode=finetune, or ask anew with more hours="
        )

    def promise(option: tuple[Choice, float]) -> tuple[float, ...]:
        choice, head = option
        return *_promise(choice), head

    return [choice for choice, _ in sorted(found, key=promise, reverse=True)]


def _promise(choice: Choice) -> tuple[float, ...]:
    enough, plenty = min(choice.epochs, ENOUGH), min(choice.epochs, PLENTY)
    return enough, choice.image_size, plenty, choice.mode == "finetune"


def _whole(
    one: Probed, advice: Advice, counts: Counts, room: float, asked: Mapping[str, Any]
) -> Choice | None:
    """All of it trained, at the size that suits the time; None where nothing fits."""
    sizes = list(_sizes(one, asked, advice))
    if not sizes:
        return None
    size, epochs = best_size(
        one.rates, counts, room, sizes, lambda size: one.rates.judging(counts, size),
        enough=enough_of(asked, counts),
    )  # fmt: skip
    return _choice(one, "finetune", size, asked.get("epochs", epochs), advice,
                   Pace(one.rates.epoch(counts, size), 0.0))  # fmt: skip


def _partial(
    one: Probed,
    lines: list[str],
    many: int,
    advice: Advice,
    counts: Counts,
    room: float,
    asked: Mapping[str, Any],
) -> Choice | None:
    """Frozen half way, with so many kept views."""
    disk = room_on_disk()
    sizes = [size for size in _sizes(one, asked, advice) if one.room(counts, many, size) <= disk]
    if not sizes or one.kept is None:
        return None

    def keeping(size: int) -> float:
        return one.keeping(counts, many, size)

    size, epochs = best_size(
        *(one.kept, counts, room, sizes),
        lambda size: keeping(size) + one.rates.judging(counts, size),
        enough=enough_of(asked, counts),
    )
    pace = Pace(one.kept.epoch(counts, size), keeping(size))
    views = [*lines, of_views(many)]
    return _choice(one, "partial", size, asked.get("epochs", epochs), advice, pace, views)


def _choice(
    one: Probed,
    mode: str,
    size: int,
    epochs: int,
    advice: Advice,
    pace: Pace,
    views: Sequence[str] = (),
) -> Choice | None:
    if not epochs:
        return None
    return Choice(
        *(one.name, one.weights, mode, size, epochs, pace.training(epochs)),
        boundary=one.boundary if views else "",
        views=list(views),
        rate=float(advice.training.optimizer.lr),
        pace=vars(pace),
    )


def enough_of(asked: Mapping[str, Any], counts: Counts) -> int:
    """Epochs for which pictures would rather be small than the training short."""
    return min(asked.get("epochs", ENOUGH), most_epochs(counts.train))


def trained_before(advice: Advice, choice: Choice) -> bool:
    """Whether it was trained already, at whichever rate."""
    return any(map(finished, (advice.folder.root / "train").glob(f"{choice.stem}-lr*")))


def _sizes(one: Probed, asked: Mapping[str, Any], advice: Advice) -> Iterator[int]:
    """What a network may be trained at: what was asked for, or those of SIZES; what fits."""
    fixed = getattr(timm.get_pretrained_cfg(one.name), "fixed_input_size", False)
    sizes = (one.rates.size,) if fixed else SIZES
    if "image_size" in asked:
        sizes = (int(asked["image_size"]),)
    yield from (size for size in sizes if not _unfit(one, size, advice))


def _unfit(one: Probed, size: int, advice: Advice) -> str:
    """Why a network cannot be trained at a size; the memory of a step is taken to go with pixels.

    As if none of it were the parameters'. What was measured is known to fit.
    """
    if size == one.rates.size:
        return ""
    if getattr(timm.get_pretrained_cfg(one.name), "fixed_input_size", False):
        return f"{one.name} takes {one.rates.size} px only"
    answer, room = one.answer(size), free_memory(device_of(advice.training))
    if advice.latency_ms is not None and answer > advice.latency_ms:
        return (
            f"{one.name} would answer in about {answer:.3g} ms (latency_ms={advice.latency_ms:g})"
        )
    if size > one.rates.size and one.memory(size) > room:
        return (
            f"a training step of {one.name} would take about {one.memory(size) / 1e9:.1f} GB of "
            f"memory, and {room / 1e9:.1f} GB are free"
        )
    return ""


def _unfit_all(probed: Sequence[Probed], advice: Advice, asked: Mapping[str, Any]) -> str | None:
    """Why no network can be trained at the size that was asked for, where none can."""
    if "image_size" not in asked:
        return None
    reasons = [_unfit(one, int(asked["image_size"]), advice) for one in probed]
    return f"plan.image_size={asked['image_size']}: {reasons[0]}" if all(reasons) else None


def too_long(advice: Advice, choice: Choice, pace: Pace, fits: int) -> str:
    """That the epochs asked for do not fit, and how many do."""
    more = f"plan.epochs={fits} fits, or " if fits else ""
    return (
        f"plan.epochs={choice.epochs}: {choice.network} at {choice.image_size} px takes about "
        f"{hours(pace.training(choice.epochs) / 3600)} for them, and "
        f"{hours(max(0.0, advice.ledger.left()) / 3600)} are left: {more}a "
        "smaller plan.image_size, or ask anew with more hours="
    )
