"""A list of photos without labels: opened, decided on, and applied by decide.py."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from carsclf.curation.page.board import Board, findings_of
from carsclf.curation.page.manner import SORTING
from carsclf.curation.page.review import Review
from carsclf.curation.page.session import Session
from carsclf.curation.page.text import keys, words
from carsclf.curation.sorting import read_list
from carsclf.errors import DataError
from tests.curation.page.conftest import photos

COLUMNS = ["path", "predicted", "probability", "predicted_2", "probability_2", "openness"]
CLASSES = ["Audi", "BMW"]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Six photos of the inbox, one elsewhere, one that is gone; a library of two classes."""
    ids = list(photos(tmp_path / "inbox", 6))
    for name, id in zip(CLASSES, ids, strict=False):
        (tmp_path / "library" / name).mkdir(parents=True)
        shutil.copy(tmp_path / "inbox" / id, tmp_path / "library" / name / "one.png")
    paths = [str(tmp_path / "inbox" / id) for id in ids]
    paths += [str(tmp_path / "library/Audi/one.png"), str(tmp_path / "inbox/gone.png")]
    paths += [str(tmp_path / "inbox/../library/BMW/one.png")]
    file = tmp_path / "inbox_unknown.csv"
    with file.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow([*COLUMNS, "decision", "who", "when", "why"])
        for n, path in enumerate(paths):
            table.writerow(
                [path, CLASSES[n % 2], "0.4", CLASSES[1 - n % 2], "0.25", "0.97", *4 * [""]]
            )
    return file


@pytest.fixture
def session(listed: Path, tmp_path: Path) -> Session:
    examples = {name: tmp_path / "library" / name / "one.png" for name in CLASSES}
    rows, paths = read_list(listed, tmp_path / "inbox", examples)
    log = tmp_path / "inbox_unknown_decided.csv"
    return Session(Review(Board(findings_of(rows), paths, CLASSES, log, SORTING), "ann"))


def test_the_list_holds_photos_of_the_folder_alone(session: Session) -> None:
    found = session.review.board.findings
    assert len(found) == 6
    assert {one.kind for one in found} == {"unknown"}
    assert found[1].choices == ["BMW"]
    assert found[1].reason == "openness 0.97, then Audi (25%)"
    assert session.review.board.progress() == {"unknown": (0, 6)}


def test_typed_decisions_are_what_decide_moves(
    session: Session, tmp_path: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    board = session.review.board
    for key in ["1", "r", *"Fell Pickup", "Enter", "x", "k", "t", "m", "r", *"fell", "Enter"]:
        session.press(key)
    said = [board.shown(place) for place in range(6)]
    assert [(e.decision, e.value) if e else None for e in said] == [
        *(("relabel", "Audi"), ("relabel", "Fell Pickup"), ("exclude", ""), ("keep", "")),
        *(("relabel", "Fell Pickup"), None),
    ]
    assert words(board, 1).tag == "into Fell Pickup · ann"
    assert words(board, 2).tag == "into quarantine · ann"
    ids = [one.id for one in board.findings]
    contents = {id: (tmp_path / "inbox" / id).read_bytes() for id in ids}
    (tmp_path / "inbox" / ids[4]).write_bytes(contents[ids[5]])  # changed since
    told = ["decide.py", f"decisions={board.path}", "photos=inbox", "library=library"]
    assert command(*told) == 0  # the new class is not made by a slip of the pen
    assert (tmp_path / "inbox" / ids[1]).is_file()
    assert command(*told, "new=[Fell Pickup]") == 0
    moved = {p.read_bytes() for p in (tmp_path / "library/Fell Pickup").iterdir()}
    assert moved == {contents[ids[1]]}
    assert contents[ids[0]] in {p.read_bytes() for p in (tmp_path / "library/Audi").iterdir()}
    (away,) = (tmp_path / "library.quarantine").rglob("*.png")
    assert away.read_bytes() == contents[ids[2]]
    assert all((tmp_path / "inbox" / ids[n]).is_file() for n in (3, 4, 5))


def test_it_goes_on_where_it_was_after_photos_were_moved(
    session: Session, listed: Path, tmp_path: Path, command: Callable[..., int]
) -> None:
    session.press("1")
    log = session.review.board.path
    told = [f"photos={tmp_path / 'inbox'}", f"library={tmp_path / 'library'}"]
    assert command("decide.py", f"decisions={log}", *told) == 0
    rows, paths = read_list(listed, tmp_path / "inbox", {})
    board = Board(findings_of(rows), paths, CLASSES, log, SORTING)
    assert board.progress() == {"unknown": (0, 5)}


def test_a_list_as_a_spreadsheet_saves_it(listed: Path, tmp_path: Path) -> None:
    listed.write_text("\ufeff" + listed.read_text().replace(",", ";"))
    assert len(read_list(listed, tmp_path / "inbox", {})[0]) == 6


def test_two_people_who_differ_move_nothing(
    session: Session, tmp_path: Path, command: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    session.press("1")
    other = Session(Review(session.review.board, "bob"))
    other.press("x")
    first = session.review.board.findings[0].id
    told = ["decide.py", f"decisions={session.review.board.path}"]
    command(*told, f"photos={tmp_path / 'inbox'}", f"library={tmp_path / 'library'}")
    assert "Audi (ann)" in (said := capfd.readouterr().err)
    assert "quarantine (bob)" in said
    assert (tmp_path / "inbox" / first).is_file()


def test_no_class_leads_out_of_the_library(session: Session) -> None:
    for key in ["r", *"../away", "Enter"]:
        session.press(key)
    assert "no name of a folder" in session.said
    assert not session.review.board.path.exists()


def test_keys_that_do_nothing_here_are_not_told() -> None:
    told = {names[0]: what for names, what in keys(SORTING)}
    assert not {"t", "m"} & told.keys()
    assert "quarantine" in told["x"]
    assert {"u", "n", "?"} <= told.keys()


def test_what_is_no_list_is_refused(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its 9 photos lies below"):
        read_list(listed, tmp_path / "elsewhere", {})
    other = tmp_path / "other.csv"
    other.write_text("id,decision\na.png,Audi\n")
    with pytest.raises(DataError, match="no column path, predicted, probability"):
        read_list(other, tmp_path / "inbox", {})
