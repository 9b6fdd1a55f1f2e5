"""See docs/advise.md."""

from carsclf.advising.advice import Advice


def look(advice: Advice) -> None:
    """Being built."""
