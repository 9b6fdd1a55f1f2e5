"""Stage 5: what to do with the hours that are left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from carsclf.advising.advice import (
    Advice,
    finished_stages,
    read_json,
    say,
)
from carsclf.advising.curve import (
    Tried,
    finished,
    pace_of,
    short_folder,
    try_shortly,
    write_curve,
)
from carsclf.advising.options import fine_tunings, too_long
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
    LEAST,
    PAGE,
    SPARE,
    Counts,
    Pace,
    most_epochs,
    shorter,
)
from carsclf.analysis.forecast import forecast, repeated
from carsclf.errors import ConfigError
from carsclf.figures.cost import hours
from carsclf.files import write_json
from carsclf.models.pooling import DEFAULT
from carsclf.options.command_line import argument

TWO = 40
"""Epochs that must fit before a second fine-tuning is tried, which costs a fifth of them."""
SLOWER = 4
"""By which rates are divided while that does better: the default suits some networks only
(experiments/adapt)."""
SEARCHED = 6
"""Full trainings that the time must hold before a search is worth it: the first, a final of at
least two, and as many again to search with."""
TRIES = 3
"""Of each network, among whose poolings and penalties the best head was taken: few, as they hardly
differ."""
TELLING = 300
"""Validation pictures below which chance would decide a search, so that it has to be asked for."""
AFTER = ("carry_out", "page")
"""Stages that another plan does again."""


def choose(advice: Advice) -> None:
    """Tries the best fine-tunings shortly, writes curve.csv and plan.json, and tells the plan."""
    plan_of(advice).write(advice.folder.plan)


def plan_of(advice: Advice) -> AdvicePlan:
    """The plan for what is asked for: the one that was made for it before, or a new one; told."""
    asked = asked_of(advice.plan)
    kept = advice.folder.plan_for(asked)
    plan = AdvicePlan.read(kept) if kept.is_file() else planned(advice, asked)
    plan.write(kept)
    again = f"python advise.py {argument('resume', advice.folder.root)}"
    for line in told(plan, again):
        say(line)
    return plan


def planned(advice: Advice, asked: dict[str, Any]) -> AdvicePlan:
    """Raises ConfigError, with nothing changed but short trainings, for what cannot be planned."""
    probed, counts = read_probed(advice.folder), counts_of(advice.folder)
    check_asked(asked, [one.name for one in probed])
    if "network" in asked:
        probed = [one for one in probed if one.name == asked["network"]]
    heads = frozen_heads(probed, counts, advice.latency_ms)
    if asked.get("mode") == "freeze" and "network" in asked and not heads:
        raise ConfigError(
            f"plan.network={asked['network']} plan.mode=freeze: it was dropped before its head "
            f"saw all pictures ({advice.folder.probe} says why): take plan.mode=finetune, or "
            "another network"
        )
    reserve = PAGE + max((_head_seconds(probed, head, counts) for head in heads), default=0.0)
    tuned = (
        [] if asked.get("mode") == "freeze" else tuned_of(advice, probed, counts, reserve, asked)
    )
    decided = asked.get("mode", "freeze") != "freeze" or {"epochs", "image_size"} & {*asked}
    known = tuned if decided else [*heads, *tuned]
    if not any(one.top1 is not None for one in known):
        raise ConfigError(_too_little(advice, asked, heads))
    chosen, verdict, why = decide(known)
    if chosen.pace:
        reserve += judging(chosen.measured, counts)
    left = advice.ledger.left()
    search = search_hours(chosen, left - reserve, counts, asked)
    others = [head for head in heads if head not in known]  # judged beside it all the same
    return AdvicePlan(
        asdict(chosen), chosen.after(advice.overrides), search, verdict, why,
        [asdict(one) for one in (*known, *others)], left, reserve, asked,
    )  # fmt: skip


def plan_anew(advice: Advice) -> None:
    """Makes the plan that is asked for now, where another was made before.

    What was carried out of that one stays, until the new one stands: trainings have names of their
    own. Raises ConfigError, with nothing changed, for what cannot be planned.
    """
    path, asked = advice.folder.plan, asked_of(advice.plan)
    if not path.is_file() or AdvicePlan.read(path).asked == asked:
        return
    with advice.ledger.at(choose.__name__):
        plan = plan_of(advice)
    done = finished_stages(advice.folder)
    write_json(advice.folder.stages, {k: v for k, v in done.items() if k not in AFTER})
    plan.write(path)


def tuned_of(
    advice: Advice,
    probed: Sequence[Probed],
    counts: Counts,
    reserve: float,
    asked: Mapping[str, Any],
) -> list[Choice]:
    """Fine-tunings that fit: the best one or two with a forecast, as they are tried."""
    options, rivals = options_of(advice, probed, counts, reserve, asked)
    least = max(LEAST, asked.get("epochs", LEAST))
    all_tried, tuned = [], []
    for option in options[:rivals]:
        own: list[Tried] = []
        for one in tries(advice, option, counts, reserve, least):
            own.append(one)
            write_curve(advice.folder.curve, [*all_tried, *own])
        all_tried += own
        tuned.append(own)
    long = [long_enough(advice, own, counts, reserve, asked) for own in tuned]
    fitting = [one for one in long if one.epochs >= LEAST or "epochs" in asked]
    return [*fitting, *options[rivals:]]


def options_of(
    advice: Advice,
    probed: Sequence[Probed],
    counts: Counts,
    reserve: float,
    asked: Mapping[str, Any],
) -> tuple[list[Choice], int]:
    """Fine-tunings that fit, the most promising first, and how many of them are tried.

    As they were found at first: after a kill less time and room is left, and others would fit.
    """
    path = advice.folder.options
    kept = read_json(path) if path.is_file() else {}
    if kept.get("asked") != asked:
        options = fine_tunings(probed, counts, advice, asked, reserve)
        epochs = ahead(advice, options[0].measured, counts, reserve) / options[0].measured.epoch \
            if options else 0  # fmt: skip
        kept = {
            "asked": dict(asked),
            "rivals": 2 if epochs >= TWO else 1,
            "options": [asdict(one) for one in options],
        }
        write_json(path, kept)
    return [Choice(**one) for one in kept["options"]], kept["rivals"]


def tries(
    advice: Advice, option: Choice, counts: Counts, reserve: float, least: int
) -> Iterator[Tried]:
    """Short trainings: at slower rates while they do better, and at the best one twice as long.

    What would leave no time for a training of the least epochs is left out, unless it is there.
    """
    short = shorter(option.epochs, counts.train)
    done: list[Tried] = []

    def fits(choice: Choice, epochs: int, further: int) -> bool:
        if finished(short_folder(advice, replace(choice, epochs=epochs))):
            return True
        pace = pace_of(done)
        needed = pace.training(further) + pace.training(least)
        return needed <= ahead(advice, pace, counts, reserve)

    best = try_shortly(advice, option, short)
    done.append(best)
    yield best
    while (rate := best.choice.rate) is not None:
        slower = replace(option, rate=rate / SLOWER)
        if not fits(slower, short, 3 * short):  # itself, and the longer one
            break
        one = try_shortly(advice, slower, short)
        done.append(one)
        yield one
        if one.short.top1 <= best.short.top1:
            break
        best = one
    longer = replace(option, rate=best.choice.rate)
    if fits(longer, 2 * short, 2 * short):
        yield try_shortly(advice, longer, 2 * short)


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


def long_enough(
    advice: Advice, tried: Sequence[Tried], counts: Counts, reserve: float, asked: Mapping[str, Any]
) -> Choice:
    """What was tried last with the epochs that fit what is left, at its pace, and its forecast.

    Raises ConfigError where more were asked for.
    """
    longest = max(tried, key=lambda one: (one.short.epochs, one.short.top1))
    option, pace = longest.choice, pace_of(tried)
    own = [one.short for one in tried if one.choice.rate == option.rate]
    seconds = ahead(advice, pace, counts, reserve)
    epochs = pace.fits(seconds, most_epochs(counts.train))
    if "epochs" in asked:
        option = replace(option, epochs=asked["epochs"])
        there = finished(advice.folder.root / "train" / option.name)
        if pace.training(asked["epochs"]) > seconds and not there:
            raise ConfigError(too_long(advice, option, pace, epochs))
        epochs = asked["epochs"]
    likely = forecast(own, epochs, counts.judge)
    lengths = " and ".join(str(short.epochs) for short in own)
    choice = replace(option, epochs=epochs, seconds=pace.training(epochs), pace=asdict(pace))
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
    if wanted and chosen.mode == "freeze":
        raise ConfigError(
            "plan.search=true: the plan is a frozen head, which is solved for: leave it out, or "
            "take plan.mode=finetune"
        )
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


def _head_seconds(probed: Sequence[Probed], head: Choice, counts: Counts) -> float:
    """To train the head as a run of its own, on features that are there, and to judge it: at most.

    A probe is mostly features, and several heads. Those of a pooling of its own are made anew.
    """
    one = next(p for p in probed if p.name == head.network)
    anew = 0.0 if one.pooling in (DEFAULT, "both") else one.rates.predicting(counts)
    return one.seconds / 4 + anew + one.rates.judging(counts, one.image_size)


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
