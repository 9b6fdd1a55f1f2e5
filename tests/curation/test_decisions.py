"""Decisions on photos: what moves, what is refused, and that a kill or a mistake loses nothing."""

import csv
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from carsclf.curation import moves
from carsclf.curation.moves import Log

Command = Callable[..., int]
Said = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """photos/{a,b,c,sub/a}.jpg of different content, and library/{Audi,BMW}."""
    for i, name in enumerate(("a", "b", "c", "sub/a")):
        path = tmp_path / f"photos/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"photo {i}".encode())
    for name in ("Audi", "BMW"):
        (tmp_path / "library" / name).mkdir(parents=True)
    return tmp_path


def write(place: Path, rows: Iterable[tuple[str, str] | tuple[str, str, str]], key="path") -> None:
    with (place / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([key, "probability", "decision", "who", "when", "why"])
        for path, decision, *who in rows:
            table.writerow([path, "0.5", decision, *(who or ["ann"]), "2026-01-01", "seen"])


def contents(place: Path) -> dict[str, str]:
    """Every photo, by where it lies."""
    files = [p for p in place.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return {str(p.relative_to(place)): p.read_text() for p in files if p.suffix != ".csv"}


GIVEN = ["decisions=list.csv", "photos=photos", "library=library"]


@pytest.mark.parametrize("key", ["path", "id"])
def test_photos_move_and_come_back(key: str, command: Command, place: Path, capfd: Said) -> None:
    before = contents(place)
    first = "a.jpg" if key == "id" else str(place / "photos/a.jpg")
    rows = [(first, "Audi"), ("b.jpg", "quarantine"), ("c.jpg", "skip"), ("sub/a.jpg", "")]
    write(place, rows, key)
    assert command("decide.py", *GIVEN) == 0
    said = capfd.readouterr()
    assert "1 not decided yet, 1 skipped" in said.out
    assert "2 moved" in said.out
    assert "next: python decide.py" in said.out
    assert said.err == ""
    assert contents(place) == {
        "library/Audi/a.jpg": "photo 0",
        "library.quarantine/b.jpg": "photo 1",
        "photos/c.jpg": "photo 2",
        "photos/sub/a.jpg": "photo 3",
    }
    assert command("decide.py", *GIVEN) == 0  # once more: nothing is left to do
    said = capfd.readouterr()
    assert "0 moved" in said.out
    assert "2 were where they belong already" in said.out
    assert command("decide.py", "library=library", "undo=last") == 0
    assert contents(place)["photos/b.jpg"] == "photo 1"
    assert command("decide.py", "library=library", "undo=all") == 0
    assert contents(place) == before
    assert command("decide.py", "library=library", "undo=all") == 1
    assert "has no such move" in capfd.readouterr().err
    lines = (place / "library/.decisions.jsonl").read_text().splitlines()
    assert len(lines) == 8  # append-only: move, done, undo, undone of two photos
    assert command("decide.py", *GIVEN) == 0  # and again
    assert "2 moved" in capfd.readouterr().out


def test_names_that_are_taken(command: Command, place: Path, capfd: Said) -> None:
    (place / "library/Audi/a.jpg").write_bytes(b"another photo")
    shutil.copy(place / "photos/b.jpg", place / "library/Audi/b.jpg")
    write(place, [("a.jpg", "Audi"), ("sub/a.jpg", "Audi"), ("b.jpg", "Audi")])
    assert command("decide.py", *GIVEN) == 0
    assert "duplicate: " in capfd.readouterr().err
    assert contents(place) == {
        "library/Audi/a.jpg": "another photo",
        "library/Audi/a-1.jpg": "photo 0",
        "library/Audi/a-2.jpg": "photo 3",
        "library/Audi/b.jpg": "photo 1",
        "photos/b.jpg": "photo 1",
        "photos/c.jpg": "photo 2",
    }


REFUSED = {
    "above": ("../secret.jpg", "Audi", "a path with '..'"),
    "above and back": ("sub/../a.jpg", "Audi", "a path with '..'"),
    "absolute": ("/etc/hostname", "Audi", "not below"),
    "NUL": ("a.jpg\0.png", "Audi", "a name with a NUL byte"),
    "a link out": ("out/secret.jpg", "Audi", "leads out of"),
    "a link": ("link.jpg", "Audi", "a link"),
    "a folder": ("sub", "Audi", "no file"),
    "the root": (".", "Audi", "not below"),
    "nothing": ("", "Audi", "not below"),
    "missing": ("gone.jpg", "Audi", "not there"),
    "class above": ("a.jpg", "../elsewhere", "is no name of a folder"),
    "class with slash": ("a.jpg", "Audi/A4", "is no name of a folder"),
    "class with backslash": ("a.jpg", "Audi\\A4", "is no name of a folder"),
    "absolute class": ("a.jpg", "/tmp", "is no name of a folder"),
    "dots": ("a.jpg", "..", "is no name of a folder"),
    "hidden class": ("a.jpg", ".git", "is no name of a folder"),
    "NUL in a class": ("a.jpg", "Au\0di", "is no name of a folder"),
    "long class": ("a.jpg", "x" * 300, "is no name of a folder"),
    "misspelt class": ("a.jpg", "Adui", "has no class 'Adui': did you mean 'Audi'"),
    "linked class": ("a.jpg", "Linked", "is a link"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_nothing_moves(case: str, command: Command, place: Path, capfd: Said) -> None:
    (place / "secret.jpg").write_text("secret")
    (place / "elsewhere").mkdir()
    shutil.copy(place / "secret.jpg", place / "elsewhere/secret.jpg")
    os.symlink(place / "elsewhere", place / "photos/out")
    os.symlink(place / "secret.jpg", place / "photos/link.jpg")
    os.symlink(place / "elsewhere", place / "library/Linked")
    path, decision, expected = REFUSED[case]
    before = contents(place)
    write(place, [(path, decision), ("c.jpg", "BMW")])
    assert command("decide.py", *GIVEN) == 0
    said = capfd.readouterr()
    (line,) = said.err.strip().splitlines()
    assert line.startswith("refused: ")
    assert expected in line
    before["library/BMW/c.jpg"] = before.pop("photos/c.jpg")  # the others go on
    assert contents(place) == before


def test_a_photo_that_cannot_be_moved_stops_no_other(
    command: Command, place: Path, capfd: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if source.name == "a.jpg":
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, target)

    write(place, [("a.jpg", "Audi"), ("b.jpg", "BMW")])
    with monkeypatch.context() as patched:
        patched.setattr(moves.os, "rename", rename)
        assert command("decide.py", *GIVEN) == 0
    said = capfd.readouterr()
    assert "1 moved" in said.out
    assert "refused: " in said.err
    assert "photos/a.jpg could not be moved" in said.err
    assert {"photos/a.jpg", "library/BMW/b.jpg"} < contents(place).keys()
    assert command("decide.py", *GIVEN) == 0
    assert contents(place)["library/Audi/a.jpg"] == "photo 0"


def test_a_new_class_is_one_that_was_named(command: Command, place: Path) -> None:
    write(place, [("a.jpg", "Volvo 240")])
    assert command("decide.py", *GIVEN, "new=[Volvo 240]") == 0
    assert contents(place)["library/Volvo 240/a.jpg"] == "photo 0"


def test_two_people_of_two_minds(command: Command, place: Path, capfd: Said) -> None:
    rows = [("a.jpg", "Audi", "ann"), ("a.jpg", "BMW", "bob"), ("b.jpg", "BMW", "ann")]
    rows += [("b.jpg", "BMW", "bob"), ("c.jpg", "skip", "ann"), ("c.jpg", "Audi", "bob")]
    write(place, rows)
    assert command("decide.py", *GIVEN) == 0
    first, second = capfd.readouterr().err.strip().splitlines()
    assert first.startswith("conflict, not applied: ")
    assert "a.jpg: Audi (ann), BMW (bob)" in first
    assert "c.jpg: skip (ann), Audi (bob)" in second
    assert contents(place).keys() == {
        "photos/a.jpg", "photos/c.jpg", "photos/sub/a.jpg", "library/BMW/b.jpg"
    }  # fmt: skip
    write(place, [("b.jpg", "Audi", "cy")])  # a list of its own, later
    assert command("decide.py", *GIVEN) == 1  # nothing could be done
    assert "b.jpg: Audi (cy), but it was moved to BMW (ann) before" in capfd.readouterr().err


def test_an_old_list_says_nothing_of_another_photo_of_the_name(
    command: Command, place: Path, capfd: Said
) -> None:
    write(place, [("a.jpg", "Audi")])
    assert command("decide.py", *GIVEN) == 0
    (place / "photos/a.jpg").write_text("a new one")
    assert command("decide.py", *GIVEN) == 1
    assert "the list may be about that one" in capfd.readouterr().err
    assert contents(place)["photos/a.jpg"] == "a new one"
    content = hashlib.sha256(b"a new one").hexdigest()
    (place / "list.csv").write_text(f"path,decision,content\na.jpg,BMW,{content}\n")
    assert command("decide.py", *GIVEN) == 0  # who knows the content means this one
    assert contents(place)["library/BMW/a.jpg"] == "a new one"


def test_a_new_class_goes_with_its_only_photo(command: Command, place: Path) -> None:
    write(place, [("a.jpg", "Volvo"), ("b.jpg", "Audi")])
    assert command("decide.py", *GIVEN, "new=[Volvo]") == 0
    (place / "library/BMW").rmdir()
    (place / "library/BMW").mkdir()
    assert command("decide.py", "library=library", "undo=all") == 0
    folders = sorted(p.name for p in (place / "library").iterdir() if p.is_dir())
    assert folders == ["Audi", "BMW"]  # empty before, and not ours to remove


def test_what_two_people_turn_differently_is_moved_and_what_one_merges_is_not(
    command: Command, place: Path, capfd: Said
) -> None:
    log = "when,who,id,content,decision,value,kind,why\n"
    log += ",ann,a.jpg,,turn,90,,\n,bob,a.jpg,,turn,180,,\n,ann,a.jpg,,relabel,Audi,,\n"
    log += ",ann,b.jpg,,merge,c.jpg,,\n,bob,b.jpg,,relabel,BMW,,\n"
    (place / "list.csv").write_text(log)
    assert command("decide.py", *GIVEN) == 0
    assert "b.jpg: skip (ann), BMW (bob)" in capfd.readouterr().err
    assert {"library/Audi/a.jpg", "photos/b.jpg"} < contents(place).keys()


def test_turns_and_merges_of_a_log_are_not_dropped_in_silence(
    command: Command, place: Path, capfd: Said
) -> None:
    log = "when,who,id,content,decision,value,kind,why\n"
    log += ",ann,a.jpg,,turn,90,,\n,ann,b.jpg,,merge,c.jpg,,\n,ann,c.jpg,,relabel,BMW,,\n"
    (place / "list.csv").write_text(log)
    assert command("decide.py", *GIVEN) == 0
    said = capfd.readouterr()
    assert "2 turns and merges (a.jpg, b.jpg) move no photo: training applies them" in said.err
    assert contents(place)["library/BMW/c.jpg"] == "photo 2"


MISTAKES = {
    "other folder": ([("/data/x.jpg", "Audi")], GIVEN, "a list of another folder"),
    "no list": ([], ["library=library"], "give decisions=<a CSV>, or undo=last"),
    "both": ([], [*GIVEN, "undo=last"], "give decisions=<a CSV>, or undo=last"),
    "no photos": ([], ["decisions=list.csv", "library=library"], "photos has no value"),
    "no library": ([], [*GIVEN[:2], "library=gone"], "is no folder"),
    "no CSV": ([], ["decisions=gone.csv", *GIVEN[1:]], "cannot be read as a CSV"),
    "twice": ([], ["decisions=twice.csv", *GIVEN[1:]], "column decision stands there twice"),
    "open quote": ([], ["decisions=open.csv", *GIVEN[1:]], "cannot be read as a CSV"),
    "columns": ([], ["decisions=other.csv", *GIVEN[1:]], "expected the columns path (or id)"),
    "quarantine": ([], [*GIVEN, "quarantine=library/q"], "lies in the library"),
    "new": ([], [*GIVEN, "new=[a/b]"], "is no name of a folder"),
    "undo": ([], ["library=library", "undo=7"], "has no such move"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, command: Command, place: Path, capfd: Said) -> None:
    rows, arguments, expected = MISTAKES[case]
    write(place, rows)
    (place / "other.csv").write_text("file,class\n")
    (place / "twice.csv").write_text("path,decision,decision\na.jpg,Audi,BMW\n")
    (place / "open.csv").write_text('path,decision\n"a.jpg,Audi\nb.jpg,BMW\n')
    before = contents(place)
    assert command("decide.py", *arguments) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert expected in line
    assert contents(place) == before


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool) -> None:
    real = getattr(owner, name)

    def killed(*given, **settings):
        if after:
            real(*given, **settings)
        raise Killed

    monkeypatch.setattr(owner, name, killed)


ACROSS = pytest.mark.parametrize("across", [False, True], ids=["rename", "copy"])
MOMENTS = {
    "before the move": (moves, "move_file", False),
    "after the move": (moves, "move_file", True),
    "in the copy": (moves.shutil, "copy2", True),
    "before the original goes": (moves.Path, "unlink", False),
}


def other_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def rename(source, target):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(moves.os, "rename", rename)


@ACROSS
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_loses_nothing(moment: str, across: bool, place: Path, monkeypatch) -> None:
    owner, name, after = MOMENTS[moment]
    if across:
        other_file_system(monkeypatch)
    elif name in ("copy2", "unlink"):
        pytest.skip("a rename copies nothing")
    source, target = place / "photos/a.jpg", place / "library/Audi/a.jpg"
    log = Log(place / "library/.decisions.jsonl")
    with monkeypatch.context() as now:
        if name == "unlink":  # only the photo's: the lock's file may go
            real = Path.unlink

            def unlink(self, missing_ok=False):
                if self == source:
                    raise Killed
                real(self, missing_ok)

            now.setattr(Path, "unlink", unlink)
        else:
            kill_at(now, owner, name, after=after)
        with pytest.raises(Killed), log.opened():
            log.move(source, target, {"decision": "Audi"})
    assert source.is_file() or target.is_file()
    again = Log(log.path)
    with again.opened():
        if again.of(source) is None:
            free = moves.free_place(source, target.parent)
            assert free is not None
            again.move(source, free, {"decision": "Audi"})
    assert not source.exists()
    assert target.read_text() == "photo 0"
    assert not list(place.rglob(".*.moving"))
    last = Log(log.path)
    with last.opened():
        standing = [m for m in last.moves.values() if m.state == "done"]
        last.undo(standing[-1])
    assert source.read_text() == "photo 0"
    assert not target.exists()


def test_half_a_line_of_the_log(command: Command, place: Path) -> None:
    write(place, [("a.jpg", "Audi")])
    assert command("decide.py", *GIVEN) == 0
    log = place / "library/.decisions.jsonl"
    log.write_bytes(log.read_bytes() + b'{"n": 2, "what": "mo')
    write(place, [("b.jpg", "Audi")])
    assert command("decide.py", *GIVEN) == 0
    assert command("decide.py", "library=library", "undo=all") == 0
    assert {"photos/a.jpg", "photos/b.jpg"} <= contents(place).keys()


def test_undo_does_not_overwrite(command: Command, place: Path, capfd: Said) -> None:
    write(place, [("a.jpg", "Audi")])
    assert command("decide.py", *GIVEN) == 0
    (place / "photos/a.jpg").write_text("a new one")
    assert command("decide.py", "library=library", "undo=last") == 1
    assert "something lies there already" in capfd.readouterr().err
    found = contents(place)
    assert (found["photos/a.jpg"], found["library/Audi/a.jpg"]) == ("a new one", "photo 0")
    (place / "photos/a.jpg").unlink()
    assert command("decide.py", "library=library", "undo=last") == 0
    assert contents(place)["photos/a.jpg"] == "photo 0"
