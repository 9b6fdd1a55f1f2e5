"""How numbers and settings are written on the page."""

import math
import re
from collections.abc import Sequence

from carsclf.analysis.comparison import Interval
from carsclf.figures.cost import hours

__all__ = [
    "INTERVAL",
    "count",
    "ends",
    "hours",
    "listed",
    "money",
    "p_value",
    "percent",
    "placeless",
    "plain",
    "points",
    "span",
    "tenths",
]


def percent(share: float | None, digits: int = 2) -> str:
    """0.4641 -> 46.41 %."""
    if share is None or math.isnan(share):
        return "–"
    return f"{100 * share:.{digits}f} %".replace("-", "−")


def tenths(share: float | None) -> str:
    """0.46414 -> 46.4 %."""
    return percent(share, 1)


INTERVAL = {"95 % from": ("low", tenths), "to": ("high", tenths)}
"""Two columns of a table on a page."""


def points(share: float | None, digits: int = 2) -> str:
    """A difference of shares: 0.0392 -> +3.92."""
    return (
        "–"
        if share is None or math.isnan(share)
        else f"{100 * share:+.{digits}f}".replace("-", "−")
    )


def span(interval: Interval, digits: int = 1) -> str:
    """Both ends in percent."""
    if math.isnan(interval.low):
        return "–"
    ends = (f"{100 * end:.{digits}f}".replace("-", "−") for end in (interval.low, interval.high))
    return " to ".join(ends)


def ends(interval: Interval | None) -> str:
    """The same in brackets, where there is an interval: ` [0.4 to 3.8]`."""
    return "" if interval is None or math.isnan(interval.low) else f" [{span(interval)}]"


def p_value(p: float) -> str:
    """A p value, no smaller than anyone should believe."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def money(amount: float | None, currency: str) -> str:
    """831.6 -> 831.60 USD."""
    if amount is None or math.isnan(amount):
        return "–"
    digits = 0 if amount >= 1000 else 2 if amount >= 0.095 or amount == 0 else 4
    return f"{amount:,.{digits}f} {currency}"


def count(number: float | None) -> str:
    """12345 -> 12,345."""
    return "–" if number is None or math.isnan(number) else f"{number:,.0f}"


def plain(value: object) -> str:
    """Short, whatever it is, and without this machine's folders."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return "–" if value is None else placeless(str(value))


def placeless(text: str) -> str:
    """model.weights=/home/me/net.pth -> model.weights=<net.pth>: absolute paths keep their name."""
    return re.sub(r"(?<![^\s=,\[\"'])/(?:[^\s=,\]/]*/)*([^\s=,\]/\"']+)/?", r"<\1>", text)


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
