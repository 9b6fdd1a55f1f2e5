"""Fine-tunings that fit into the time that is left, before any was tried."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import timm

from carsclf.advising.advice import Advice
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
    then the one of which all is trained, then with the better head. Raises ConfigError where
    none holds the epochs asked for, and for mode=partial where nothing can be frozen so.
    """
    views = kept_views(advice) if any(one.kept for one in probed) else None
    if asked.get("mode") == "partial" and views is None:
        raise ConfigError(
            "plan.mode=partial: no candidate can be frozen half way here, or the training's own "
            "settings exclude it (resizing, unfreezing, cutmix): take plan.mode=finetune"
        )
    room = advice.ledger.left() * (1 - SPARE) - reserve
    found: list[tuple[Choice, float]] = []
    refused = None
    for one in probed:
        options = [_whole(one, advice, counts, room, asked)]
        if one.kept and views:
            lines, many = views
            each = (_partial(one, lines, n, advice, counts, room, asked) for n in many)
            options.append(max(filter(None, each), key=_promise, default=None))
        for choice in options:
            if choice is None or asked.get("mode", choice.mode) != choice.mode:
                continue
            if "epochs" in asked and choice.seconds > DOUBT * max(0.0, room):
                fits = choice.measured.fits(room, most_epochs(counts.train))
                refused = refused or too_long(advice, choice, choice.measured, fits)
                continue
            found.append((choice, one.top1))
    if refused and not found:
        raise ConfigError(refused)

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
        one.rates, counts, room, sizes, lambda size: one.rates.judging(counts, size)
    )
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


def _sizes(one: Probed, asked: Mapping[str, Any], advice: Advice) -> Iterator[int]:
    """What a network may be trained at: what was asked for, or what answers in time and has room.

    The memory of a step is taken to go with the pixels, as if none of it were the parameters'.
    """
    if "image_size" in asked:
        yield int(asked["image_size"])
        return
    room = free_memory(device_of(advice.training))
    fixed = getattr(timm.get_pretrained_cfg(one.name), "fixed_input_size", False)
    for size in (one.rates.size,) if fixed else SIZES:
        in_time = advice.latency_ms is None or one.answer(size) <= advice.latency_ms
        if in_time and one.memory(size) <= max(one.memory(one.rates.size), room):
            yield size


def too_long(advice: Advice, choice: Choice, pace: Pace, fits: int) -> str:
    """That the epochs asked for do not fit, and how many do."""
    more = f"plan.epochs={fits} fits, or " if fits else ""
    return (
        f"plan.epochs={choice.epochs}: {choice.network} at {choice.image_size} px takes about "
        f"{hours(pace.training(choice.epochs) / 3600)} for them, and "
        f"{hours(max(0.0, advice.ledger.left()) / 3600)} are left: {more}a "
        "smaller plan.image_size, or ask anew with more hours="
    )
