"""The log of decisions: what counts of what was said, and what a damaged file still says."""

from pathlib import Path

import pytest

from carsclf.data.decision_log import COLUMNS, HEADER, Entry, Ledger, read_ledger
from carsclf.errors import DataError

HERE = Path("decisions.csv")


def said(*rows: tuple[str, ...]) -> Ledger:
    """Of rows (who, id, decision, value)."""
    ledger = Ledger()
    for who, id, decision, *value in rows:
        ledger.add(Entry("", who, id, "", decision, *value))
    return ledger


def test_the_last_decision_counts_and_a_turn_beside_it() -> None:
    ledger = said(
        ("ann", "a", "exclude"),
        ("ann", "a", "turn", "90"),
        ("ann", "a", "relabel", "red"),
        ("ann", "a", "turn", "180"),
    )
    fate = ledger.fate("a")
    assert fate is not None
    assert (fate.decision, fate.value, ledger.turn("a")) == ("relabel", "red", 180)
    assert ledger.fate("b") is None
    assert ledger.turn("b") == 0


def test_an_undo_takes_back_the_own_last_one_only() -> None:
    ledger = said(("ann", "a", "exclude"), ("bob", "a", "keep"), ("ann", "a", "undo"))
    assert [e.decision for _, e in ledger.of("a")] == ["keep"]
    ledger = said(("ann", "a", "exclude"), ("ann", "a", "keep"), ("ann", "a", "undo"))
    assert [e.decision for _, e in ledger.of("a")] == ["exclude"]
    assert said(("ann", "a", "undo")).ids() == []  # nothing to take back


def test_what_people_decide_differently_is_a_conflict_and_the_later_counts() -> None:
    ledger = said(("ann", "a", "exclude"), ("bob", "a", "keep"), ("ann", "b", "keep"))
    assert [e.who for e in ledger.conflict("a")] == ["ann", "bob"]
    assert ledger.conflict("b") == []
    fate = ledger.fate("a")
    assert fate is not None
    assert fate.decision == "keep"
    ledger = said(("ann", "a", "exclude"), ("bob", "a", "keep"), ("ann", "a", "keep"))
    assert ledger.conflict("a") == []  # ann came round
    assert said(("ann", "a", "turn", "90"), ("bob", "a", "turn", "270")).conflict("a")


def test_a_keep_about_light_leaves_the_label_as_it_was_decided() -> None:
    """Of three keeps after a relabelling, the one of too_dark is beside it."""
    for kind, counts in (("too_dark", "relabel"), ("label_error", "keep"), ("", "keep")):
        ledger = Ledger()
        ledger.add(Entry("", "ann", "a", "", "relabel", "red", "mislabelled"))
        ledger.add(Entry("", "bob", "a", "", "keep", "", kind))
        fate = ledger.fate("a")
        assert fate is not None
        assert fate.decision == counts
        assert bool(ledger.conflict("a")) is (counts == "keep")
    ledger = said(("ann", "a", "exclude"))
    ledger.add(Entry("", "ann", "a", "", "keep", "", "too_dark"))  # what is left out comes back
    assert [e.decision for _, e in ledger.of("a")] == ["exclude", "keep"]
    fate = ledger.fate("a")
    assert fate is not None
    assert fate.decision == "keep"


def test_of_photos_merged_in_a_circle_one_stays() -> None:
    """a into b, then b into a: the later counts, so a stays."""
    ledger = said(("ann", "a", "merge", "b"), ("bob", "b", "merge", "a"))
    assert ledger.fate("a") is None
    fate = ledger.fate("b")
    assert fate is not None
    assert fate.value == "a"
    assert [e.who for e in ledger.conflict("a")] == ["ann", "bob"]
    ring = said(("x", "a", "merge", "b"), ("x", "b", "merge", "c"), ("x", "c", "merge", "a"))
    assert [id for id in "abc" if ring.fate(id) is None] == ["a"]
    outside = said(("x", "d", "merge", "a"), ("x", "a", "merge", "b"), ("x", "b", "merge", "a"))
    assert [id for id in "dab" if outside.fate(id) is None] == ["a"]


def test_lines_come_back_as_they_were_written() -> None:
    names = ['a,"b"\n.jpg', "c\\n\r.jpg", "<img src=x onerror=alert(1)>.jpg", " é ", "=1+1"]
    entries = [Entry("now", n, n, "", "relabel", n, "label_error", n) for n in names]
    content = HEADER + "".join(entry.line() for entry in entries)
    assert content.count("\n") == 1 + len(names)
    ledger = read_ledger(content.encode(), HERE)
    assert [e for id in ledger.ids() for _, e in ledger.of(id)] == entries
    assert tuple(HEADER.strip().split(",")) == COLUMNS


@pytest.mark.parametrize(
    "torn",
    [
        b"2026-01-01T00:00:00Z,ann,b.jpg,,excl",
        b'2026-01-01T00:00:00Z,ann,"b, ',
        b"2026-01-01T00:00:00Z,ann,\xc3",
    ],
)
def test_half_a_line_is_passed_over(torn: bytes) -> None:
    whole = (HEADER + Entry("t", "ann", "a.jpg", "", "keep").line()).encode()
    ledger = read_ledger(whole + torn, HERE)
    assert (ledger.ids(), ledger.torn) == (["a.jpg"], 1)
    if torn[-1] < 128:  # the next writer began a new line
        after = Entry("t", "ann", "c.jpg", "", "exclude").line().encode()
        ledger = read_ledger(whole + torn + b"\n" + after, HERE)
        assert (ledger.ids(), ledger.torn) == (["a.jpg", "c.jpg"], 1)


def test_any_csv_with_id_and_decision_will_do() -> None:
    content = "\ufeffdecision,id,value\r\nexclude,a.jpg\r\n,b.jpg,\r\nrelabel,c.jpg,red\r\n"
    ledger = read_ledger(content.encode(), HERE)
    assert ledger.ids() == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "expected a CSV with the columns when, who, id"),
        ("id,class\na,b\n", "expected a CSV .* found id, class"),
        ("id,decision\na,exclud\n", "line 2: decision 'exclud' is unknown.*exclude"),
        ("id,decision\na, b.jpg,exclude\n", "line 2: more cells .* double quotes"),
        ("id,decision\n,exclude\n", "line 2: no id"),
        ("id,decision,value\na,turn,45\n", "line 2: turn '45': expected 0, 90, 180, 270"),
        ("id,decision,value\na,relabel,\n", "line 2: relabel without a value"),
        ("id,decision,value\na,merge,a\n", "line 2: merged into itself"),
        ("id,decision\n\xff\na,keep\n".encode("latin1"), "is not UTF-8"),
    ],
)
def test_what_is_no_list_of_decisions(content: str | bytes, why: str) -> None:
    given = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(DataError, match=why) as error:
        read_ledger(given, HERE)
    assert "\n" not in str(error.value)
