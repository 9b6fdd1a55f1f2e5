"""What the page is for: cleaning what has labels, or sorting what has none yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Manner:
    """acts: key, words and decision of a row's buttons; done: what a decision is called after."""

    title: str
    acts: Sequence[tuple[str, str, str]]
    done: Mapping[str, str]
    example: str  # what the photo of the suggested class is
    new_classes: bool = False  # whether a class may be named that there is not yet
    keys: Mapping[str, str] = field(default_factory=dict)  # what is told of a key instead

    def allows(self, key: str) -> bool:
        """Whether a key decides something here."""
        return any(key == own for own, *_ in self.acts)


CLEANING = Manner(
    "Cleaning",
    (
        ("k", "keep", "keep"),
        ("x", "leave out", "exclude"),
        ("r", "relabel", "relabel"),
        ("t", "turn", "turn"),
        ("m", "merge", "merge"),  # of pairs
    ),
    {
        "keep": "kept",
        "exclude": "left out",
        "merge": "merged",
        "turn": "turned",
        "relabel": "now",
    },
    "nearest of the suggested",
)
SORTING = Manner(
    "Sorting",
    (("r", "class", "relabel"), ("x", "quarantine", "exclude"), ("k", "skip", "keep")),
    {"keep": "skipped", "exclude": "into quarantine", "relabel": "into"},
    "one of that class",
    new_classes=True,
    keys={
        "k": "skip: the photo stays where it is",
        "x": "into quarantine, out of the way",
        "r": "its class: type a part of the name, Enter takes it; a new name makes a new class",
    },
)
