"""See docs/advise.md."""

from carsclf.advising.advice import Advice


def candidates(advice: Advice) -> None:
    """Being built."""
