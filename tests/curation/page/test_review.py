"""What is decided on the page, as the log then holds it, and what the page shows of it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from carsclf.curation.page.board import Board
from carsclf.curation.page.log import begin
from carsclf.curation.page.review import PAGE, Review
from carsclf.curation.page.session import Asked, Session
from carsclf.curation.page.text import words
from carsclf.data.decision_log import Entry, read_ledger
from carsclf.errors import CheckpointError, DataError
from tests.curation.page.conftest import NAMES, doubt

Make = Callable[..., Board]


def logged(board: Board) -> list[tuple[str, ...]]:
    """who, id, decision, value of each line."""
    lines = board.path.read_text(encoding="utf-8").splitlines()[1:]
    cells = [next(__import__("csv").reader([line])) for line in lines]
    return [(row[1], row[2], row[4], row[5]) for row in cells]


def typed(session: Session, *names: str) -> None:
    for name in names:
        session.press(name)


def test_one_key_a_decision_and_the_cursor_goes_on(board: Make, paths: dict[str, Path]) -> None:
    a, b, c, d, e = list(paths)[:5]
    shared = board(*map(doubt, (a, b, c, d, e)))
    session = Session(Review(shared, "ann"))
    typed(session, "k", "x", "1", "2", "t", "t")
    assert logged(shared) == [
        ("ann", a, "keep", ""),
        ("ann", b, "exclude", ""),
        ("ann", c, "relabel", NAMES[0]),
        ("ann", d, "relabel", NAMES[2]),
        ("ann", e, "turn", "90"),
        ("ann", e, "turn", "180"),
    ]
    assert [shared.settled(place) for place in range(5)] == [True] * 4 + [False]
    assert shared.progress() == {"label_error": (4, 5)}
    entry = shared.ledger.fate(a)
    assert entry is not None
    assert entry.content == hashlib.sha256(paths[a].read_bytes()).hexdigest()
    assert (entry.kind, entry.why) == ("label_error", f"doubt about {a}")
    assert entry.when.endswith("+00:00")


def test_many_at_once_are_undone_at_once_also_after_the_tab_was_closed(
    board: Make, paths: dict[str, Path]
) -> None:
    ids = list(paths)[:6]
    shared = board(*map(doubt, ids))
    session = Session(Review(shared, "ann"))
    typed(session, "x")
    session.press("ArrowDown", shift=True)
    session.press("ArrowDown", shift=True)
    assert session.review.selected == {1, 2, 3}
    typed(session, "k")
    assert [shared.settled(place) for place in range(6)] == [True] * 4 + [False] * 2
    again = Session(Review(board(*map(doubt, ids)), "ann"))
    typed(again, "u")
    assert [again.review.board.settled(place) for place in range(6)] == [True] + [False] * 5
    typed(again, "u", "u")
    assert again.said == "nothing to take back"
    assert [row[2] for row in logged(shared)] == ["exclude", *["keep"] * 3, *["undo"] * 4]


def test_a_pair_is_merged_and_merged_the_other_way(board: Make, paths: dict[str, Path]) -> None:
    a, b = list(paths)[:2]
    shared = board(doubt(a, "near_duplicate", other=b, other_class=NAMES[0], other_split="val"))
    session = Session(Review(shared, "ann"))
    typed(session, "m")
    assert (shared.ledger.fate(a), shared.settled(0)) == (None, True)
    typed(session, "m")
    assert shared.ledger.fate(b) is None
    assert logged(shared) == [("ann", b, "merge", a), ("ann", a, "merge", b)]
    typed(session, "u", "k")  # the first merge stands again; both are kept
    fates = [fate.decision for id in (a, b) if (fate := shared.ledger.fate(id))]
    assert fates == ["keep", "keep"]
    typed(Session(Review(board(doubt(a)), "ann")), "m")
    assert len(logged(shared)) == 5  # no pair, nothing to merge


def test_a_class_is_chosen_by_typing_a_part_of_it(board: Make, paths: dict[str, Path]) -> None:
    a, b = list(paths)[:2]
    shared = board(doubt(a), doubt(b))
    session = Session(Review(shared, "ann"))
    typed(session, "r", *"xk", "Backspace", "Backspace", *"GRUN")
    assert isinstance(session.open, Asked)
    assert (session.matches(), session.open.typed) == (["grün"], "GRUN")
    assert not shared.path.exists()  # x and k were letters
    typed(session, "Enter")
    assert logged(shared) == [("ann", a, "relabel", "grün")]
    typed(session, "r", "Enter", "r", *"blue", "Escape", "r", *"zz", "Enter", "Escape")
    assert len(logged(shared)) == 1
    typed(session, "r", "ArrowDown", "Enter")
    assert logged(shared)[1:] == [("ann", b, "relabel", NAMES[1])]


def test_filters_pages_and_the_next_that_is_open(board: Make, paths: dict[str, Path]) -> None:
    ids = list(paths)
    shared = board(*map(doubt, ids), doubt(ids[0], "too_dark", suggested=None))
    session = Session(Review(shared, "ann"))
    review = session.review
    assert (len(review.order), review.pages) == (13, 2)
    session.press("ArrowRight")
    assert (review.cursor, review.rows) == (PAGE, review.order[PAGE:])
    session.press("End")
    assert review.cursor == 12
    session.press("k")  # on the last; back to the first that is open
    assert review.cursor == 0
    session.press("f")
    assert len(review.order) == 12
    session.press("c")
    typed(session, *"blue", "Enter")
    assert review.order == []  # none names it
    typed(session, "k", "x", "t", "ArrowDown", "End", "Enter", "n", " ", "a")  # harmless
    typed(session, "c", "Enter", "f")
    assert len(review.order) == 13
    review.show("too_dark")
    assert [shared.findings[place].kind for place in review.order] == ["too_dark"]


def test_a_photo_that_is_left_out_settles_all_that_is_found_of_it(
    board: Make, paths: dict[str, Path]
) -> None:
    a = next(iter(paths))
    rows = [doubt(a), doubt(a, "mislabelled"), doubt(a, "too_dark"), doubt(a, "on_its_side")]
    for key, settled in {
        "k": ["mislabelled", "label_error"],
        "1": ["mislabelled", "label_error"],
        "x": ["mislabelled", "label_error", "too_dark", "on_its_side"],
        "t": ["on_its_side"],
    }.items():
        shared = board(*rows, log=f"{key}.csv")
        typed(Session(Review(shared, "ann")), key)
        found = [f.kind for place, f in enumerate(shared.findings) if shared.settled(place)]
        assert found == settled


def test_two_people_on_one_photo(board: Make, paths: dict[str, Path]) -> None:
    """Both see who decided what; the later counts, and both lines stay."""
    a = next(iter(paths))
    ann, bob = board(doubt(a)), board(doubt(a))
    typed(Session(Review(ann, "ann")), "x")
    typed(Session(Review(bob, "bob")), "k")
    assert ann.refresh()
    for shared in (ann, bob):
        told = words(shared, 0)
        assert (told.edge, told.tag) == ("keep", "kept · bob")
        assert told.conflict == "decided differently: ann: exclude; then bob: keep, which counts"
    typed(Session(Review(ann, "ann")), "u")  # only her own
    assert words(ann, 0).conflict == ""
    assert words(ann, 0).edge == "keep"
    assert len(logged(ann)) == 3


def test_what_cannot_be_written_is_not_shown_as_decided(
    board: Make, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = board(doubt(next(iter(paths))))
    session = Session(Review(shared, "ann"))
    typed(session, "x")
    before = shared.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("carsclf.curation.page.log.os.fsync", full)
    typed(session, "k")
    assert session.bad
    assert "No space left on device): this decision was not kept" in session.said
    assert shared.path.read_bytes() == before
    assert words(shared, 0).edge == "exclude"
    with pytest.raises(CheckpointError):
        shared.decide("ann", [Entry("", "", "a", "", "keep")])


def test_decisions_on_another_data_set_are_refused(board: Make, tmp_path: Path) -> None:
    log = tmp_path / "decisions.csv"
    log.write_text("id,decision\nother/1.jpg,exclude\n../../etc/passwd,keep\n")
    with pytest.raises(DataError, match="does not begin with when,who,id,.* cannot add to it"):
        board(doubt("a"))
    begin(log, read_ledger(log.read_bytes(), log))
    with pytest.raises(DataError, match="none of its 2 photos .* decisions on another data set"):
        board(doubt("a"))
    assert read_ledger(log.read_bytes(), log).ids() == ["other/1.jpg", "../../etc/passwd"]


def test_findings_about_classes_have_no_row(board: Make, paths: dict[str, Path]) -> None:
    shared = board({"kind": "few_photos", "class": "grün", "reason": "3"}, doubt(next(iter(paths))))
    assert [finding.kind for finding in shared.findings] == ["label_error"]
    empty = Session(Review(board(), "ann"))
    typed(empty, "k", "r", "n", "m", "1", "ArrowUp", "Enter", "?", "x")
    assert not shared.path.exists()
