"""Stage 5: what to do with the hours that are left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import timm

from carsclf.advising.advice import (
    Advice,
    finished_stages,
    say,
)
from carsclf.advising.curve import Tried, try_shortly, write_curve
from carsclf.advising.plan import (
    AdvicePlan,
    Choice,
    asked_of,
    check_asked,
    check_latency,
    decide,
    told,
)
from carsclf.advising.probed import Probed, counts_of, read_probed
from carsclf.advising.times import (
    ENOUGH,
    LEAST,
    PAGE,
    SIZES,
    SPARE,
    Counts,
    Pace,
    best_size,
    most_epochs,
    shorter,
    smaller,
)
from carsclf.analysis.forecast import forecast, repeated
from carsclf.errors import ConfigError
from carsclf.figures.cost import hours
from carsclf.files import write_json
from carsclf.options.command_line import argument

TWO = 20
"""Epochs that must fit before a second network is tried, which costs a sixth of them."""
GROW = 8
"""Epochs below which pictures do not grow: each size would have but one."""
DOUBT = 1.5
"""How much longer than the time left a training may seem before it was tried, and be tried."""
SEARCHED = 6
"""Full trainings that the time must hold before a search is worth it: the first, a final of at
least two, and as many again to search with."""
TRIES = 3
"""Of each network, among whose poolings and penalties the best head was taken: few, as they hardly
differ."""
TELLING = 300
"""Validation pictures below which chance would decide a search, so that it has to be asked for."""
RERUN = ("choose", "carry_out", "page")


def choose(advice: Advice) -> None:
    """Tries the best fine-tunings shortly, writes curve.csv and plan.json, and tells the plan."""
    asked = asked_of(advice.plan)
    probed, counts = read_probed(advice.folder), counts_of(advice.folder)
    check_asked(asked, [one.name for one in probed])
    if "network" in asked:
        probed = [one for one in probed if one.name == asked["network"]]
    heads = frozen_heads(probed, counts, advice.latency_ms)
    reserve = PAGE + max((_head_seconds(probed, head, counts) for head in heads), default=0.0)
    tuned = (
        [] if asked.get("mode") == "freeze" else tuned_of(advice, probed, counts, reserve, asked)
    )
    decided = asked.get("mode", "freeze") != "freeze" or "epochs" in asked
    known = tuned if decided else [*heads, *tuned]
    if not any(one.top1 is not None for one in known):
        raise ConfigError(_too_little(advice, asked, heads))
    chosen, verdict, why = decide(known)
    if chosen.pace:
        reserve += judging(chosen.measured, counts)
    left = advice.ledger.left()
    search = search_hours(chosen, left - reserve, counts, asked)
    others = [head for head in heads if head not in known]  # judged beside it all the same
    plan = AdvicePlan(
        asdict(chosen), [*advice.overrides, *chosen.overrides], search, verdict, why,
        [asdict(one) for one in (*known, *others)], left, reserve, dict(asked),
    )  # fmt: skip
    again = f"python advise.py {argument('resume', advice.folder.root)}"
    for line in told(plan, again):
        say(line)
    plan.write(advice.folder.plan)


def tuned_of(
    advice: Advice,
    probed: Sequence[Probed],
    counts: Counts,
    reserve: float,
    asked: Mapping[str, Any],
) -> list[Choice]:
    """Fine-tunings that fit: the best one or two with a forecast, as they are tried."""
    options = fine_tunings(probed, counts, advice, asked, reserve)
    rivals = options[: 2 if options and options[0].epochs >= TWO else 1]
    tried: list[list[Tried]] = []
    for option in rivals:
        short = shorter(option.epochs, counts.train)
        own = try_shortly(advice, option, [short])
        tried.append(own)
        least = own[0].pace.training(2 * short) + own[0].pace.training(LEAST)
        if least <= ahead(advice, own[0].pace, counts, reserve):  # else it is slower than measured
            own += try_shortly(advice, option, [2 * short])
        write_curve(advice.folder.curve, [one for each in tried for one in each])
    tuned = [
        long_enough(advice, option, shorts, counts, reserve, asked)
        for option, shorts in zip(rivals, tried, strict=True)
    ]
    fitting = [one for one in tuned if one.epochs >= LEAST or "epochs" in asked]
    return [*fitting, *options[len(rivals) :]]


def forget_plan(advice: Advice) -> None:
    """Lets choose what was chosen otherwise: trainings that were begun stay, by their own names."""
    if not advice.folder.plan.is_file():
        return
    if AdvicePlan.read(advice.folder.plan).asked != asked_of(advice.plan):
        done = finished_stages(advice.folder)
        write_json(advice.folder.stages, {k: v for k, v in done.items() if k not in RERUN})


def frozen_heads(probed: Sequence[Probed], counts: Counts, latency: float | None) -> list[Choice]:
    """Each network's best head, of those that answer in time; what it came to is known."""
    whole = [one for one in probed if one.whole]
    check_latency(
        {f"{o.name} at {o.image_size} px": o.answer(o.image_size) for o in whole}, latency
    )
    quick = [o for o in whole if latency is None or o.answer(o.image_size) <= latency]
    tries = TRIES * len(whole)
    return [
        Choice(
            one.name, one.weights, "freeze", one.image_size, 0, one.seconds,
            pooling=one.pooling, penalty=one.penalty,
        ).expecting(
            repeated(one.top1, counts.val, counts.judge, tries), "its head on all pictures"
        )
        for one in quick
    ]  # fmt: skip


def fine_tunings(
    probed: Sequence[Probed],
    counts: Counts,
    advice: Advice,
    asked: Mapping[str, Any],
    reserve: float,
) -> list[Choice]:
    """One for each network that fits, the most promising first: enough epochs, size, its head.

    Raises ConfigError for far more epochs than fit.
    """
    found = []
    for one in probed:
        sizes = list(_sizes(one, asked, advice.latency_ms))
        if not sizes:
            continue
        room = advice.ledger.left() * (1 - SPARE) - reserve
        room -= one.rates.judging(counts, max(sizes))
        size, epochs = best_size(one.rates, counts, room, sizes)
        epochs = asked.get("epochs", epochs)
        if epochs:
            seconds = epochs * one.rates.epoch(counts, size)
            if "epochs" in asked and seconds > DOUBT * max(0.0, room):
                pace = Pace(one.rates.epoch(counts, size), 0.0)
                said = f"{one.name} at {size} px"
                raise ConfigError(
                    _too_long(
                        advice, said, epochs, pace, pace.fits(room, most_epochs(counts.train))
                    )
                )
            mode = asked.get("mode", "finetune")
            choice = Choice(one.name, one.weights, mode, size, epochs, seconds)
            found.append((min(epochs, ENOUGH), size, one.top1, choice))
    return [choice for *_, choice in sorted(found, key=lambda f: f[:3], reverse=True)]


def long_enough(
    advice: Advice, option: Choice, tried: Sequence[Tried], counts: Counts, reserve: float,
    asked: Mapping[str, Any],
) -> Choice:  # fmt: skip
    """The option with the epochs that fit what is left now, at the pace it had, and its forecast.

    Raises ConfigError where more were asked for.
    """
    pace = max(tried, key=lambda one: one.short.epochs).pace
    seconds = ahead(advice, pace, counts, reserve)
    most = most_epochs(counts.train)
    epochs, growing = pace.fits(seconds, most), []
    if option.mode == "finetune" and GROW <= epochs < most and "epochs" not in asked:
        growing = smaller(option.image_size)
        epochs = pace.fits(seconds, most, growing, option.image_size)
    if "epochs" in asked:
        if pace.training(asked["epochs"]) > seconds:
            said = f"{option.network} at {option.image_size} px"
            raise ConfigError(_too_long(advice, said, asked["epochs"], pace, epochs))
        epochs = asked["epochs"]
    seconds = pace.training(epochs, growing, option.image_size)
    likely = forecast([one.short for one in tried], epochs, counts.judge)
    lengths = " and ".join(str(one.short.epochs) for one in tried)
    choice = replace(option, epochs=epochs, growing=growing, seconds=seconds, pace=asdict(pace))
    return choice.expecting(likely, f"complete trainings of {lengths} epochs")


def ahead(advice: Advice, pace: Pace, counts: Counts, reserve: float) -> float:
    """Seconds that a training may still take."""
    return advice.ledger.left() * (1 - SPARE) - reserve - judging(pace, counts)


def judging(pace: Pace, counts: Counts) -> float:
    """Seconds to export a fine-tuning and to judge it: pictures as in an epoch, at most."""
    return pace.beside + pace.epoch * (counts.val + counts.judge) / max(1, counts.train)


def search_hours(
    chosen: Choice, seconds: float, counts: Counts, asked: Mapping[str, Any]
) -> float | None:
    """Hours of a study, where the time holds SEARCHED trainings of full length.

    Unasked only where the training is as long as any, and there are pictures to tell trials apart.
    """
    wanted = asked.get("search")
    if chosen.mode == "freeze" or wanted is False:
        return None
    worth = (
        chosen.epochs >= most_epochs(counts.train)
        and "epochs" not in asked
        and counts.val >= TELLING
    )
    if seconds >= SEARCHED * chosen.seconds and (wanted or worth):
        return round(seconds * (1 - SPARE) / 3600, 4)
    if wanted:
        raise ConfigError(
            f"plan.search=true: a search needs {SEARCHED} trainings, each of "
            f"{hours(chosen.seconds / 3600)}, and {hours(max(0.0, seconds) / 3600)} are left: "
            "leave it out, give plan.epochs=..., or ask anew with more hours="
        )
    return None


def _sizes(one: Probed, asked: Mapping[str, Any], latency: float | None) -> Iterator[int]:
    """What a network may be trained at: what was asked for, or those that answer in time."""
    if "image_size" in asked:
        yield int(asked["image_size"])
        return
    fixed = getattr(timm.get_pretrained_cfg(one.name), "fixed_input_size", False)
    for size in (one.rates.size,) if fixed else SIZES:
        if latency is None or one.answer(size) <= latency:
            yield size


def _head_seconds(probed: Sequence[Probed], head: Choice, counts: Counts) -> float:
    """To train the head as a run of its own, and to judge it."""
    one = next(p for p in probed if p.name == head.network)
    return one.seconds / 2 + one.rates.judging(counts, one.image_size)


def _too_long(advice: Advice, what: str, epochs: int, pace: Pace, fits: int) -> str:
    return (
        f"plan.epochs={epochs}: {what} takes about "
        f"{hours(pace.training(epochs) / 3600)} for them, and "
        f"{hours(max(0.0, advice.ledger.left()) / 3600)} are left: plan.epochs={fits} fits, or a "
        "smaller plan.image_size, or ask anew with more hours="
    )


def _too_little(advice: Advice, asked: Mapping[str, Any], heads: Sequence[Choice]) -> str:
    left = hours(max(0.0, advice.ledger.left()) / 3600)
    told = ", ".join(f"plan.{key}={value}" for key, value in asked.items()) or "hours"
    instead = (
        f"plan.mode=freeze plan.network={heads[0].network} is a head that takes seconds"
        if heads
        else "ask anew with more hours="
    )
    return (
        f"{told}: {left} are left, in which no fine-tuning of {LEAST} epochs fits beside its short "
        f"trainings: {instead}"
    )
