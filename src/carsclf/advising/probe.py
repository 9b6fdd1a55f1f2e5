"""See docs/advise.md."""

from carsclf.advising.advice import Advice


def probe(advice: Advice) -> None:
    """Being built."""
