import numpy as np
import pytest
from tables import make_searches, make_table

from carsclf.errors import DataError
from carsclf.tuning.study.replay import replay
from carsclf.tuning.workers.recorded import Table


def columns(rows=4, horizon=5):
    return {
        "params": np.array([[1e-3, 1.0], [1e-2, 2.0], [1e-1, 3.0], [1.0, 4.0]])[:rows],
        "names": np.array(["lr", "layers"]),
        "log": np.array([True, False]),
        "accuracy": np.linspace(0, 1, rows * horizon).reshape(rows, horizon),
        "cost": np.array([1.0, 1.0, 0.5, 1.5])[:rows],
    }


def test_the_nearest_configuration_answers(tmp_path):
    np.savez(tmp_path / "t.npz", **columns())
    table = Table.read(tmp_path / "t.npz")
    assert table.row({"lr": 0.012, "layers": 2}) == 1
    assert table.row({"lr": 0.9, "layers": 4}) == 3
    assert table.horizon == 5
    assert [p.integer for p in table.space] == [False, True]
    assert [p.log for p in table.space] == [True, False]


@pytest.mark.parametrize("kind", ["absent", "text", "incomplete"])
def test_a_file_that_is_no_table_is_refused_in_one_line(kind, tmp_path):
    path = tmp_path / "t.npz"
    if kind == "text":
        path.write_text("no table")
    if kind == "incomplete":
        np.savez(path, **{k: v for k, v in columns().items() if k != "cost"})
    with pytest.raises(DataError, match=r"t\.npz") as caught:
        Table.read(path)
    assert "\n" not in str(caught.value)


def test_a_trial_is_told_the_recorded_curve_from_its_first_epoch(table):
    events = replay(make_searches(budget=2)["random"], table)[0].journal.events
    raws = [e["raw"] for e in events if e["kind"] == "suggest"]
    told = [[], []]
    for event in events:
        if event["kind"] == "result":
            told[event["trial"]].append(event["metrics"]["score"])
    expected = [table.accuracy[table.row(raw)].tolist() for raw in raws]
    assert told == expected


def test_the_clock_runs_on_the_recorded_cost():
    table = make_table()
    table.cost = np.full(len(table.cost), 2.0)
    _, curve = replay(make_searches(budget=3)["random"], table)
    assert curve.time[-1] == pytest.approx(6.0)
    assert curve.spent[-1] == pytest.approx(3.0)


def test_workers_share_the_time(table):
    one, many = (replay(make_searches(budget=8)["random"], table, workers=w)[1] for w in (1, 4))
    assert one.time[-1] == pytest.approx(8.0)
    assert many.time[-1] == pytest.approx(2.0)
    assert one.best[-1] == many.best[-1]
    assert (np.diff(many.time) >= 0).all()
    assert (np.diff(many.best) >= 0).all()


@pytest.mark.parametrize("name", ["asha", "bohb"])
def test_many_workers_are_kept_busy(name, table):
    _, curve = replay(make_searches(budget=16)[name], table, workers=8)
    assert curve.time[-1] < 16 / 8 * 1.7
