"""What more time, and more pictures, would probably buy."""

from carsclf.advising.times import LEAST, SIZES, SPARE, most_epochs
from carsclf.analysis.comparison import Interval
from carsclf.figures.cost import hours
from carsclf.report.advice.material import Material
from carsclf.report.words import percent, span


def twice_the_time(material: Material) -> tuple[str, str, str]:
    """In a word or two, what these are, and in a sentence: what twice the hours would buy."""
    tuned, outcome = material.tuned, material.outcome
    asked = hours(2 * outcome.asked_seconds / 3600)
    if tuned is None:
        return "not tried", "no fine-tuning, which more time would buy", untried(material, asked)
    if tuned.name == material.plan.choice.name:
        epochs = 2 * material.training.epochs
        ahead, now = material.foretold(tuned, epochs), material.training
        # where the time did not say how many
        free = "epochs" in material.plan.asked or now.epochs >= most_epochs(material.counts.train)
        what = "twice the epochs" if free else "twice the time"
        whole = f"Twice the epochs ({epochs})" if free else f"Twice the time ({asked}):"
        whole += " of" if free else f" about {epochs} epochs of"
        return (
            f"{100 * (ahead.value - now.val):+.1f} points",
            f"are what {what} would probably buy [{span(ahead)} % right]",
            f"{whole} {tuned.network} would probably bring it from {percent(now.val, 1)} on "
            f"validation to {told(ahead)}.",
        )
    ahead = material.foretold(tuned, 2 * max(1, tuned.epochs))
    if ahead.value <= material.winner.val:
        return (
            "nothing",
            f"is what twice the time would probably buy: fine-tuned {told(ahead)}",
            f"Twice the time ({asked}) would go into fine-tuning {tuned.network} at "
            f"{tuned.image_size} px, which would probably reach {told(ahead)}: no more than the "
            f"frozen head's {percent(material.winner.val, 1)} on validation.",
        )
    return (
        percent(ahead.value, 1),
        f"is what twice the time would probably buy, by fine-tuning [{span(ahead)}]",
        f"Twice the time ({asked}) would go into fine-tuning {tuned.network} at "
        f"{tuned.image_size} px, which would probably reach {told(ahead)}; the frozen head has "
        f"{percent(material.winner.top1, 1)}.",
    )


def untried(material: Material, asked: str) -> str:
    """Where no fine-tuning was tried: only what would fit is known."""
    if material.plan.asked.get("mode") == "freeze":
        return "A frozen head was asked for, so what more time would buy was not tried."
    planned = [one for one in material.plan.choices if one.mode != "freeze"]
    if planned:
        one = planned[0]
        return (
            f"Twice the time ({asked}) would hold a fine-tuning of {one.network} at "
            f"{one.image_size} px for some {2 * one.epochs} epochs; nothing of it was tried here."
        )
    return (
        "No fine-tuning fits into this time beside the short ones that foretell it: from about "
        f"{hours(needed(material) / 3600)} one does, as far as measured speeds tell."
    )


def needed(material: Material) -> float:
    """Seconds from which the quickest fine-tuning fits: what is spent before it, and its epochs."""
    before = material.advice.hours * 3600 - material.plan.left + material.plan.reserve
    epochs = LEAST + 4  # and short ones of 1, 1 and 2
    quickest = min(one.rates.epoch(material.counts, min(SIZES)) for one in material.probed)
    return (before + epochs * quickest) / (1 - SPARE)


def more_pictures(material: Material) -> str:
    """What twice the labelled pictures would give a frozen head, and what a point costs."""
    growth = material.growth
    if not growth.get("law"):
        return f"Not told: {growth.get('why', 'accuracy as the data grows was not measured')}."
    twice, point, now = growth["twice"], growth["pictures_per_point"], growth["now"]
    said = (
        f"Twice the labelled pictures ({twice['images']:,}) would probably bring the frozen head "
        f"of {growth['candidate']} from {percent(now['value'], 1)} to {percent(twice['value'], 1)} "
        f"[{percent(twice['low'], 1)} to {percent(twice['high'], 1)}]"
    )
    if point["value"] is None:
        return f"{said}; as far as this tells, no number of them would give it another point."
    most = f"{point['high']:,.0f}" if point["high"] is not None else "any number"
    low = point["low"] if point["low"] is not None else point["value"]
    return (
        f"{said}; another point costs about {point['value']:,.0f} more labelled pictures "
        f"[{low:,.0f} to {most}]."
    )


def told(likely: Interval) -> str:
    return f"{percent(likely.value, 1)} [{span(likely)}]"
