"""The page of a prediction log, from logs made to order in the service's own tables."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

import hashlib
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from carsclf.errors import CarsclfError, DataError
from carsclf.report.served.command import write_log_report
from carsclf.report.served.evaluated import agreed, reweighted
from carsclf.report.served.periods import Periods, choose
from carsclf.report.served.scan import Sample
from carsclf.serving.database import EVALUATIONS, MODELS, PREDICTIONS, Database, file_url
from tests.report.test_report import Text

SCRIPT = "<script>alert(1)</script>"
START = datetime(2026, 11, 2, 12, tzinfo=UTC)  # a Monday
Row = dict[str, Any]


def model(version: str, day: int, *classes: str) -> Row:
    return {
        "version": version,
        "run": version.partition("@")[0],
        "sha256": "0" * 64,
        "class_names": list(classes),
        "time": START + timedelta(days=day),
    }


def predicted(name: str, day: float, version: str, said: str, sure: float, **more: Any) -> Row:
    """A prediction; its photo is told by `photo`, else by its own name."""
    photo = more.pop("photo_name", name)
    return {
        "request_id": name,
        "image": 0,
        "time": START + timedelta(days=day),
        "version": version,
        "sha256": hashlib.sha256(photo.encode()).hexdigest(),
        "predicted": said,
        "probability": sure,
        "top": [[said, sure]],
        "openness": None,
        "seconds": 0.1,
        "client": None,
        "photo": None,
    } | more


def evaluation(name: str, truth: str, who: str = "anna", day: float = 30) -> Row:
    return {
        "request_id": name,
        "image": 0,
        "who": who,
        "true_class": truth,
        "note": "",
        "time": START + timedelta(days=day),
    }


def make_log(path: Path, models: list[Row], predictions: list[Row], evaluations: list[Row]) -> Path:
    with Database(file_url(path)).begin() as connection:
        for table, rows in (
            (MODELS, models),
            (PREDICTIONS, predictions),
            (EVALUATIONS, evaluations),
        ):
            if rows:
                connection.execute(table.insert(), rows)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two versions; a, b, d are asked of both, c of the old alone; the new knows a class more."""
    old, new = "old@1", "new@2"
    predictions = [
        predicted("a1", 0, old, "sea", 0.95, photo_name="a"),
        predicted("b1", 1, old, "sea", 0.55, photo_name="b", client="app"),
        predicted("c1", 8, old, "sea", 0.92),
        predicted("d1", 8, old, "street", 0.35, photo_name="d"),
        predicted("a2", 15, new, "sea", 0.85, photo_name="a", seconds=0.3),
        predicted("b2", 15, new, "street", 0.8, photo_name="b"),
        predicted("d2", 15, new, SCRIPT, 0.75, photo_name="d"),
        predicted("e2", 16, new, "sea", 0.15),
    ]
    evaluations = [
        evaluation("a1", "sea"),
        evaluation("b1", "street"),
        evaluation("c1", "sea", "anna", 20),
        evaluation("c1", "street", "ben", 21),  # a tie: the latest word
        evaluation("d2", SCRIPT, "anna"),
        evaluation("d2", SCRIPT, "ben"),
        evaluation("d2", "sea", "carl", 40),  # outvoted
        evaluation("e2", "street"),
    ]
    models = [
        model(new, 14, "sea", "street", SCRIPT),
        model(old, -1, "sea", "street"),
    ]
    return make_log(tmp_path / "log.sqlite", models, predictions, evaluations)


def table(page: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(page.parent / f"tables/{name}.csv")


def test_accuracy_by_version_period_confidence_and_class(log: Path, tmp_path: Path) -> None:
    page = write_log_report(str(log), folder=tmp_path / "page", period="week")
    versions = table(page, "versions")
    assert versions["version"].tolist() == ["old@1", "new@2"]
    assert versions[["evaluated", "right"]].to_numpy().tolist() == [[3, 1], [2, 1]]
    over_time = table(page, "accuracy")
    assert over_time[["period", "version", "evaluated", "right"]].to_numpy().tolist() == [
        ["2026-11-02", "old@1", 2, 1],
        ["2026-11-09", "old@1", 1, 0],
        ["2026-11-16", "new@2", 2, 1],
    ]
    bands = table(page, "confidence")[["version", "band", "predictions", "evaluated", "accuracy"]]
    assert bands.to_numpy().tolist() == [
        ["new@2", "0.1 to 0.2", 1, 1, 0.0],
        ["new@2", "0.7 to 0.8", 2, 1, 1.0],  # 0.8 belongs here
        ["old@1", "0.5 to 0.6", 1, 1, 0.0],
        ["old@1", "0.9 to 1.0", 2, 2, 0.5],
    ]
    classes = table(page, "classes").set_index("class")  # of the new version: d2 right, e2 wrong
    assert classes["evaluated"].to_dict() == {"street": 1, SCRIPT: 1, "sea": 0}
    assert classes.loc["street", ["accuracy", "taken_for"]].tolist() == [0, "sea (1)"]
    assert classes["predictions"].to_dict() == {"street": 1, SCRIPT: 1, "sea": 2}
    use = table(page, "use")
    assert use["predictions"].tolist() == [2, 2, 4]
    assert use["p99"].iloc[2] == pytest.approx(0.1 + 0.2 * (0.99 * 3 - 2), abs=1e-6)
    text = Text(page).sections["accuracy"]
    assert "2 of 5 were disputed" in text
    assert "people look at doubtful answers" in text


def test_a_model_that_is_served_again_is_the_one_in_use(tmp_path: Path) -> None:
    models = [model("old@1", -1, "sea"), model("new@2", 14, "sea")]
    asked = [("a", 0, "old@1"), ("b", 15, "new@2"), ("c", 17, "old@1")]  # rolled back
    rows = [predicted(name, day, version, "sea", 0.9) for name, day, version in asked]
    log = make_log(tmp_path / "log.sqlite", models, rows, [evaluation("a", "sea")])
    page = write_log_report(str(log), folder=tmp_path / "page")
    assert "What came of it: old in use" in page.read_text()


def test_new_against_old_on_the_same_photos(log: Path, tmp_path: Path) -> None:
    """a: both right; b: mended; d: mended, of a class that the old one lacks. c, e: one alone."""
    page = write_log_report(str(log), folder=tmp_path / "page")
    row = table(page, "paired").iloc[0]
    assert row[["old", "new"]].tolist() == ["old@1", "new@2"]
    assert row[["photos", "mended", "broken", "unknown"]].tolist() == [3, 2, 0, 1]
    assert (row["old_accuracy"], row["new_accuracy"]) == pytest.approx((1 / 3, 1))
    assert row["p"] == pytest.approx(0.25)  # mid-p of 0 of 2: 2 (1/4) - 1/4
    assert "too few to tell" in Text(page).sections["versions"]


def test_no_scripts_and_names_as_text(log: Path, tmp_path: Path) -> None:
    page = write_log_report(str(log), folder=tmp_path / "page")
    source = page.read_text()
    assert "<script" not in source
    assert "&lt;script&gt;alert(1)" in source
    assert "http" not in source.replace("http://www.w3.org", "")


def test_drift_is_found_and_not_invented(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for day in range(4):
        for i in range(400):
            sure = float(rng.beta(8, 2) if day < 3 else rng.beta(4, 3))
            said = "sea" if rng.random() < (0.5 if day < 3 else 0.85) else "street"
            far = float(rng.random())
            rows.append(predicted(f"{day}-{i}", day, "one@1", said, sure, openness=far))
    log = make_log(tmp_path / "log", [model("one@1", 0, "sea", "street")], rows, [])
    page = write_log_report(str(log), folder=tmp_path / "page")
    found = table(page, "drift")
    assert found["what"].tolist() == ["confidence", "classes"] * 3
    assert found["shift"].tolist() == ["none"] * 4 + ["large"] * 2
    text = Text(page).sections
    assert "adjusted for all 6 tests" in text["drift"]
    assert table(page, "openness")["pictures"].tolist() == [400] * 4
    for section in ("accuracy", "confidence", "classes"):
        assert "None of these predictions was evaluated" in text[section]
        assert "python serve.py evaluations=said.csv" in text[section]
    assert "Only one version answered" in text["versions"]


def test_since_and_until(log: Path, tmp_path: Path) -> None:
    page = write_log_report(str(log), folder=tmp_path / "p", since="2026-11-03", until="2026-11-17")
    assert table(page, "models")["predictions"].tolist() == [3, 0][:1]
    with pytest.raises(DataError, match="lie between 2026-11-02 and 2026-11-18"):
        write_log_report(str(log), folder=tmp_path / "none", since="2027-01-01")
    assert not (tmp_path / "none").exists()


def test_a_log_that_is_written_to_is_read_and_not_changed(log: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as writer:
        writer.execute("begin immediate")  # the service's transaction
        writer.execute("delete from evaluations")
        page = write_log_report(str(log), folder=tmp_path / "page")
        writer.execute("rollback")
    assert table(page, "versions")["evaluated"].sum() == 5
    with closing(sqlite3.connect(log)) as connection:
        assert connection.execute("select count(*) from predictions").fetchone() == (8,)


def test_a_large_log_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows take about the same memory, most of it for the figures."""
    monkeypatch.setattr("carsclf.report.served.scan.AT_ONCE", 500)
    monkeypatch.setattr("carsclf.report.served.scan.MOST", 300)
    peaks = []
    for many in (3000, 30_000):
        rows = [
            predicted(f"{i}", 3 * i / many, "one@1", f"c{i % 7}", i / many, client=f"s{i}")
            for i in range(many)
        ]
        log = make_log(tmp_path / f"{many}", [model("one@1", 0, "c0")], rows, [])
        del rows
        tracemalloc.start()
        page = write_log_report(str(log), folder=tmp_path / "page")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert table(page, "use")["predictions"].sum() == many
        assert len(table(page, "clients")) == 16  # of as many as there are predictions
    assert peaks[1] < 2 * peaks[0]


def test_a_sample_is_even() -> None:
    """Of 0..9999 in order, 1,000 kept: their mean is 4,999.5 within 4 standard errors."""
    sample = Sample(1000, np.random.default_rng(0))
    for start in range(0, 10_000, 100):
        sample.add(np.arange(start, start + 100))
    assert len(set(sample.values.tolist())) == 1000
    assert abs(sample.values.mean() - 4999.5) < 4 * 2887 / np.sqrt(1000)


def test_whose_word_counts() -> None:
    assert agreed([("sea", 2), ("sea", 1)]) == ("sea", False)
    assert agreed([("sea", 1), ("street", 2)]) == ("street", True)
    assert agreed([("street", 2), ("sea", 3), ("street", 1)]) == ("street", True)
    assert agreed([("a", 1), ("b", 4), ("a", 2), ("b", 3), ("c", 5)]) == ("b", True)


def test_accuracy_weighted_by_all_predictions() -> None:
    """Bands 0.1 (90 predictions, half right) and 0.9 (10, all right); 0.5 has no evaluation."""
    bands = np.array([90, 0, 0, 0, 100, 0, 0, 0, 10, 0])
    sure = np.array([0.05, 0.05, 0.85, 0.85, 0.85])
    value, covered = reweighted(np.array([1, 0, 1, 1, 1.0]), sure, bands)
    assert value == pytest.approx((90 * 0.5 + 10) / 100)
    assert covered == 0.5


def test_periods() -> None:
    assert Periods("week").of("2026-11-29") == "2026-11-23"
    assert Periods("month").of("2026-11-29") == "2026-11-01"
    spans = {"2026-11-29": "day", "2027-03-01": "week", "2029-01-01": "month"}
    assert {last: choose("auto", "2026-11-02", last).kind for last in spans} == spans


def bad(text: str, tmp_path: Path) -> str:
    with pytest.raises(CarsclfError) as refusal:
        write_log_report(text, folder=tmp_path / "page")
    assert not (tmp_path / "page").exists()
    return str(refusal.value)


def test_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, " * 100)
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("create table photos (id)")
    empty = make_log(tmp_path / "empty", [model("one@1", 0, "sea")], [], [])
    assert "there is no such file" in bad(str(tmp_path / "gone"), tmp_path)
    assert not (tmp_path / "gone").exists()
    assert "there is no such file" in bad(str(tmp_path), tmp_path)
    assert "not a database" in bad(str(tmp_path / "text"), tmp_path)
    assert "no table evaluations, models, predictions" in bad(str(tmp_path / "other"), tmp_path)
    assert "holds no predictions yet" in bad(f"sqlite:///{empty}", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hush@127.0.0.1:9/log",  # nobody listens
        "postgresql://me:hush@127.0.0.1:port/log",
        "mysql://me:hush@host/log",
        "postgresql:/me:hush@host/log",
        "me:hush@host/log",
        "postgresql://me:hu@sh/hush@127.0.0.1:port/log",
        "postgresql://me@127.0.0.1:9/log?password=hush",
    ],
)
def test_passwords_are_not_shown(text: str, tmp_path: Path) -> None:
    said = bad(text, tmp_path)
    assert said.startswith("log=")
    assert "hush" not in said


MISTAKES = {
    "runs too": (["log=log.sqlite", "runs=[a]"], "leave runs= out"),
    "upload": (["log=log.sqlite", "upload=true"], "upload= is about runs and studies"),
    "no log": (["period=day"], "give it as log=<log.sqlite or URL>"),
    "period": (["log=log.sqlite", "period=year"], "expected auto, day, week, month"),
    "day": (["log=log.sqlite", "since=monday"], "since=monday: expected a day as 2026-11-26"),
    "order": (["log=log.sqlite", "since=2026-11-09", "until=2026-11-09"], "is not later than"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(
    mistake: str, command: Callable[..., int], log: Path, capfd: Any
) -> None:
    arguments, expected = MISTAKES[mistake]
    assert command("report.py", *arguments) == 1
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert expected in said[0]


def test_report_py_of_a_log(command: Callable[..., int], log: Path, tmp_path: Path, capfd) -> None:
    assert command("report.py", "log=log.sqlite", "period=month", "since=2026-11-01") == 0
    assert "report: runs/performance/index.html" in capfd.readouterr().out
    page = (tmp_path / "runs/performance/index.html").read_text()
    assert "python report.py log=log.sqlite period=month since=2026-11-01" in page
