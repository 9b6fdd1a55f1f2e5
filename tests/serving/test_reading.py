"""The log of a PostgreSQL, read for a report in another time zone, and when the server is down."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from carsclf.errors import DataError
from carsclf.report.served.command import write_log_report
from carsclf.serving.database import EVALUATIONS, MODELS, PREDICTIONS, Database
from tests.report.test_served import evaluation, model, predicted


@pytest.mark.slow
def test_the_report_of_a_postgresql(
    postgresql: tuple[str, Callable[[str], None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = postgresql
    monkeypatch.setenv("PGTZ", "Pacific/Auckland")  # the session's; days are UTC all the same
    late = datetime.fromisoformat("2026-11-03T23:30:00+00:00")
    rows = [
        predicted("a", 0, "one@1", "sea", 0.9, time=late),
        predicted("b", 5, "one@1", "street", 0.6),
        predicted("c", 6, "two@2", "sea", 0.8, photo_name="b"),
    ]
    with Database(url).begin() as connection:
        models = [model("one@1", 0, "sea", "street"), model("two@2", 6, "sea", "street")]
        connection.execute(MODELS.insert(), models)
        connection.execute(PREDICTIONS.insert(), rows)
        connection.execute(EVALUATIONS.insert(), [evaluation("a", "sea"), evaluation("b", "sea")])
    page = write_log_report(url, folder=tmp_path / "page", period="day", since="2026-11-03")
    found = pd.read_csv(page.parent / "tables/accuracy.csv")
    assert found["period"].tolist() == ["2026-11-03", "2026-11-07"]
    assert found["right"].tolist() == [1, 0]
    assert pd.read_csv(page.parent / "tables/paired.csv")["mended"].tolist() == [1]
    server("stop")
    with pytest.raises(DataError, match="cannot be read: "):
        write_log_report(url, folder=tmp_path / "later")
