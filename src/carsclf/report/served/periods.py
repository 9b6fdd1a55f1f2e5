"""Days, weeks and months of a log, in UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from carsclf.errors import ConfigError

DAYS, WEEKS = 62, 434  # that a log spans at most for days, or weeks, to be told apart


@dataclass(frozen=True)
class Periods:
    """How days are put together: `day`, `week` (from Monday) or `month`."""

    kind: str

    def of(self, day: str) -> str:
        """The period of a day, as the date it begins with: 2026-11-26 is of 2026-11-23."""
        if self.kind == "week":
            begin = date.fromisoformat(day)
            return (begin - timedelta(days=begin.weekday())).isoformat()
        return f"{day[:8]}01" if self.kind == "month" else day

    def between(self, first: str, last: str) -> int:
        """How many there are from the first day to the last, about."""
        days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
        return days // {"day": 1, "week": 7, "month": 28}[self.kind] + 2


def choose(kind: str, first: str, last: str) -> Periods:
    """`auto` tells days apart up to two months, weeks up to 62 of them, else months."""
    if kind != "auto":
        return Periods(kind)
    days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    return Periods("day" if days <= DAYS else "week" if days <= WEEKS else "month")


def moment(name: str, text: str | None) -> datetime | None:
    """A date, or a date and a time, as UTC unless it names a zone; raises ConfigError."""
    if text is None:
        return None
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{name}={text}: expected a day as 2026-11-26, or a time as 2026-11-26T18:00, in UTC"
        ) from None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def window(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Both ends; the later one is left out. Raises ConfigError where nothing lies between."""
    begin, end = moment("since", since), moment("until", until)
    if begin and end and begin >= end:
        raise ConfigError(f"until={until} is not later than since={since}: nothing lies between")
    return begin, end
