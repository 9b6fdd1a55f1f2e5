"""See docs/advise.md."""

from carsclf.advising.advice import Advice


def growth(advice: Advice) -> None:
    """Being built."""
