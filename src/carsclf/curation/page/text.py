"""What stands in a row, in words."""

from dataclasses import dataclass

from carsclf.curation.page.board import Board
from carsclf.curation.page.manner import CLEANING, Manner
from carsclf.data.decision_log import Entry

HELP = (
    (("↑", "↓"), "the row above, below"),
    (("←", "→"), "the page before, after"),
    (("Home", "End"), "the first row, the last"),
    (("Space",), "select the row; with none selected, decisions are on the row of the frame"),
    (("Shift", "↑", "↓"), "select all from there to here"),
    (("a",), "select all that the list shows, or none"),
    (("n",), "the next that is not decided"),
    (("k",), "keep: the photo and its label are right; of a pair, both stay"),
    (("1 … 9",), "the class that stands beside the digit"),
    (("r",), "relabel: type a part of the class, Enter takes it"),
    (("x",), "leave the photo out of training"),
    (("t",), "turn it by 90 degrees to the right; again for more"),
    (("m",), "merge a pair: the left photo stays, the other is left out; again for the reverse"),
    (("u",), "take back what you decided last, also what you decided on many at once"),
    (("f",), "hide what is decided, or show it again"),
    (("c",), "only findings that name a class: type a part of it; Enter with nothing typed, all"),
    (("Enter",), "the photo as large as the window; the right one of a pair with Enter again"),
    (("?",), "this"),
)


def keys(manner: Manner) -> list[tuple[tuple[str, ...], str]]:
    """The keys that do something, and what."""
    known = [(names, manner.keys.get(names[0], what)) for names, what in HELP]
    acts = {key for key, *_ in CLEANING.acts}
    return [(n, what) for n, what in known if n[0] not in acts or manner.allows(n[0])]


@dataclass(frozen=True)
class Words:
    """Of one finding as it stands."""

    edge: str  # the decision, or empty
    tag: str  # what was decided, and by whom
    conflict: str
    turn: int  # degrees


def words(board: Board, place: int) -> Words:
    finding, ledger = board.findings[place], board.ledger
    entry, turn = board.shown(place), ledger.turn(finding.id)
    if entry is None:
        return Words("", "", "", 0)
    tag = board.manner.done[entry.decision]
    if entry.decision == "relabel":
        tag = f"{tag} {entry.value}"
    if turn:
        by = f"turned by {turn}°"
        tag = by if entry.decision == "turn" else f"{tag}, {by}"
    edge = entry.decision if entry.decision != "turn" or turn else ""
    said = conflict(ledger.conflict(finding.id))
    return Words(edge, f"{tag} · {entry.who or 'unnamed'}" if edge else "", said, turn)


def conflict(said: list[Entry]) -> str:
    """Who decided what, the one that counts last."""
    if not said:
        return ""
    told = [f"{e.who or 'unnamed'}: {e.decision} {e.value}".strip() for e in said]
    return f"decided differently: {'; then '.join(told)}, which counts"


def gone(board: Board, id: str) -> str:
    """What a photo's badge says where it is left out."""
    fate = board.ledger.fate(id)
    if fate and fate.decision == "exclude":
        return board.manner.done["exclude"]
    return "left out for its twin" if fate and fate.decision == "merge" else ""
