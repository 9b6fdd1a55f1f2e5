"""Hours and money: what trainings and studies cost, and what a gained point costs."""

from dataclasses import dataclass

NOTHING_GAINED = "undefined: nothing was gained over the best known without it"
NO_BASELINE = "unknown: nothing was trained to compare with"
NO_PRICE = "unknown: no price per device hour was given"


@dataclass(frozen=True)
class StudyCost:
    """A study in device hours (sums over its trials, as if one device had run them in turn)."""

    trials: int
    full_trainings: float
    """Spent: epochs of all trials in units of one full training."""
    paid: float
    """Hours of all trials."""
    one: float
    """Hours of one full training: paid / full_trainings."""
    as_full: float
    """Hours had every trial been a full training, as the published study counts: trials · one."""


def study_cost(seconds: float, full_trainings: float, trials: int) -> StudyCost:
    """From the seconds and the full trainings' worth of epochs (> 0) of all trials."""
    paid = seconds / 3600
    one = paid / full_trainings
    return StudyCost(trials, full_trainings, paid, one, trials * one)


def money(hours: float, price_per_hour: float | None) -> float | None:
    """hours · price_per_hour, in the price's currency; None without a price."""
    return None if price_per_hour is None else hours * price_per_hour


def per_point(cost: float | None, gain: float | None) -> tuple[float | None, str]:
    """cost / (100 · gain), for a gain in [-1, 1]; None, and why, where that means nothing."""
    if gain is None:
        return None, NO_BASELINE
    if gain <= 0:
        return None, NOTHING_GAINED
    if cost is None:
        return None, NO_PRICE
    return cost / (100 * gain), ""
