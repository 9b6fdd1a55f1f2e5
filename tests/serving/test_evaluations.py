"""True classes of predicted pictures, over HTTP and from a CSV."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from carsclf.serving.service import Service

NAN = float("nan")
Started = Callable[..., tuple[TestClient, Service]]


def kept(folder: Path) -> list[tuple[object, ...]]:
    query = "select request_id, image, who, true_class, note from evaluations order by 1, 2, 3"
    with closing(sqlite3.connect(folder / "log.sqlite")) as connection:
        return list(connection.execute(query))


@pytest.fixture
def predicted(started: Started, photos: list[Path]) -> tuple[TestClient, str]:
    """A client, and a request of which two pictures were predicted."""
    client, _ = started()
    pair = [("images", (photo.name, photo.read_bytes())) for photo in photos[:2]]
    return client, client.post("/predict", files=pair).json()["request_id"]


def test_true_classes_are_kept_at_once(predicted: tuple[TestClient, str], tmp_path: Path) -> None:
    client, asked = predicted
    row = {"request_id": asked, "true_class": "sea", "who": "anna"}
    told = client.post("/evaluations", json=[row, row | {"image": 1, "note": "from behind"}])
    assert (told.status_code, told.json()) == (200, {"kept": 2, "refused": []})
    client.post("/evaluations", json=[row | {"true_class": "street"}, row | {"who": "ben"}])
    assert kept(tmp_path / "served") == [
        (asked, 0, "anna", "street", ""),  # her later word
        (asked, 0, "ben", "sea", ""),
        (asked, 1, "anna", "sea", "from behind"),
    ]


def test_what_is_still_on_its_way_is_not_called_unknown(
    started: Started, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = started()
    asked = client.post("/predict", content=photos[0].read_bytes()).json()["request_id"]
    row = {"request_id": asked, "true_class": "sea", "who": "anna"}
    with monkeypatch.context() as patched:
        patched.setattr(service.log, "flush", lambda seconds: False)
        told = client.post("/evaluations", json=[row])
        assert told.status_code == 503
        assert "come again" in told.text
    assert client.post("/evaluations", json=[row]).json()["kept"] == 1


def test_unknown_pictures_and_classes_are_refused_by_row(
    predicted: tuple[TestClient, str], tmp_path: Path
) -> None:
    client, asked = predicted
    good = {"request_id": asked, "true_class": "sea", "who": "anna"}
    bad = {
        "no picture 2": good | {"image": 2},
        "no picture 0 of a request 'gone'": good | {"request_id": "gone"},
        "did you mean 'street'": good | {"true_class": "streets"},
        "who is empty": good | {"who": " "},
    }
    told = client.post("/evaluations", json=[*bad.values(), good])
    assert told.status_code == 200
    assert told.json()["kept"] == 1
    assert [each["row"] for each in told.json()["refused"]] == [0, 1, 2, 3]
    for reason, each in zip(bad, told.json()["refused"], strict=True):
        assert reason in each["reason"]
    assert kept(tmp_path / "served") == [(asked, 0, "anna", "sea", "")]
    assert client.post("/evaluations", json=[bad["who is empty"]]).status_code == 422
    wrong = [
        good | {"image": -1},
        good | {"note": "\0"},
        good | {"imgae": 1},
        good | {"image": NAN},
    ]
    wrong += [good | {name: "\ud800"} for name in ("note", "who", "true_class", "request_id")]
    for body in ([], [{}], {}, "x", *([row] for row in wrong)):
        told = client.post("/evaluations", content=json.dumps(body))
        assert (told.status_code, bool(told.json()["detail"])) == (422, True)


def test_what_no_model_has_is_none_of_these(
    predicted: tuple[TestClient, str], tmp_path: Path
) -> None:
    client, asked = predicted
    row = {"request_id": asked, "true_class": "none of these", "who": "anna"}
    assert client.post("/evaluations", json=[row]).json() == {"kept": 1, "refused": []}
    assert kept(tmp_path / "served") == [(asked, 0, "anna", "none of these", "")]
    other = client.post("/evaluations", json=[row | {"true_class": "desert"}]).json()
    assert other["refused"][0]["reason"].endswith("or say 'none of these'")


@pytest.fixture
def logged(predicted: tuple[TestClient, str], settings: Callable[..., object]) -> str:
    """The request, once it is in the database."""
    client, asked = predicted
    client.post("/evaluations", json=[{"request_id": "x", "true_class": "x", "who": "x"}])
    return asked


def test_a_csv_is_imported_and_its_bad_lines_named(
    logged: str, command: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "said.csv"
    lines = [
        "\ufeffwho,request_id,image,true_class,note",
        f"anna,{logged},1,forest,",
        f'anna,{logged},0,sea,"two',
        'lines"',
        f"anna,{logged},first,sea,",
        f"anna,{logged},0,seas,",
        "anna,gone,0,sea,",
        f",{logged},0,sea,",
        f"anna,{logged}",
    ]
    table.write_text("\n".join(lines), encoding="utf-8")
    for _ in range(2):  # again: nothing is kept twice
        assert command("serve.py", f"evaluations={table}", "folder=served") == 0
        said = capfd.readouterr()
        assert "2 evaluations kept, 5 refused" in said.out
        assert "refused: line 5: image=first" in said.err
        assert "refused: line 6: no model has a class 'seas': did you mean 'sea'" in said.err
        assert "refused: line 7: no picture 0 of a request 'gone'" in said.err
        assert "refused: line 8: who is empty" in said.err
        assert "refused: line 9: " in said.err
        assert kept(tmp_path / "served") == [
            (logged, 0, "anna", "sea", "two\nlines"),
            (logged, 1, "anna", "forest", ""),
        ]


def test_tables_that_cannot_be_imported(
    logged: str, command: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "columns.csv").write_text("id,class\n1,sea\n")
    (tmp_path / "more.csv").write_text("request_id,true_class,who,img\n1,sea,me,0\n")
    (tmp_path / "twice.csv").write_text("request_id,true_class,who,who\n1,sea,me,you\n")
    (tmp_path / "open.csv").write_text('request_id,true_class,who\n1,"sea,me\n2,sea,me\n')
    (tmp_path / "none.csv").write_text("request_id,true_class,who\ngone,sea,me\n")
    (tmp_path / "bytes.csv").write_bytes(b"request_id,true_class,who\n\xff\xfe,a,b\n")
    cases = {
        "gone.csv": "cannot be read",
        "columns.csv": "has no column request_id, true_class, who",
        "more.csv": "has a column 'img': expected",
        "twice.csv": "the column who stands there twice",
        "open.csv": "cannot be read",
        "none.csv": "none of its 1 rows could be kept",
        "bytes.csv": "cannot be read",
    }
    for name, expected in cases.items():
        assert command("serve.py", f"evaluations={name}", "folder=served") == 1
        assert expected in capfd.readouterr().err
    assert command("serve.py", "evaluations=none.csv", "log=mysql://here/x") == 1
    assert "expected an SQLite file" in capfd.readouterr().err
    assert command("serve.py", "evaluations=none.csv", "log=sqlite:////nowhere/at/all.db") == 1
    assert "there is no such file" in capfd.readouterr().err
    assert command("serve.py", "evaluations=none.csv", "log=served/log.sqlit") == 1
    assert "log=served/log.sqlit: there is no such file" in capfd.readouterr().err
    assert command("serve.py", "evaluations=none.csv", "log=postgresql//me:secret@host/log") == 1
    assert "secret" not in capfd.readouterr().err
