"""Ray Tune's callbacks hear of a study what they hear of Ray's own, and never harm it."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recording import Failing, Recording
from scripted import METRIC, SPACE, Scripted, make_study, make_table_file
from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

from carsclf.tuning.search.random import Random
from carsclf.tuning.study.callbacks import Callbacks
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.study.seen import Identity
from carsclf.tuning.study.study import Study
from carsclf.tuning.workers.protocol import Failure
from tests.test_commands import error_of

Command = Callable[..., int]


@pytest.fixture(autouse=True)
def _afresh() -> None:
    Recording.heard.clear()


def scalars(path: Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of a TensorBoard file: records of length, its check, data, its check."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + size])
        at += size + 16
        found += [
            (event.step, value.tag, value.simple_value)
            for value in event.summary.value
            if value.HasField("simple_value")
        ]
    return found


def told(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """The epochs of each trial as the journal has them."""
    trials: dict[int, list[dict[str, Any]]] = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "result":
            trials.setdefault(event["trial"], []).append(event)
    return trials


def test_rays_own_loggers_write_what_the_study_was_told(command: Command, tmp_path: Path) -> None:
    options = ["objective=replay", f"objective.table={make_table_file(tmp_path)}", "search=bohb"]
    options += ["search.budget=4", "search.final=0.5", "name=logged"]
    assert command("tune.py", *options, "callbacks=[csv,json,tensorboard]") == 0
    folder = tmp_path / "runs/tune/logged"
    trials = pd.read_parquet(folder / "trials.parquet")
    finals = sorted(folder.glob("final/*"))
    assert len(finals) == 2
    places = {n: folder / "trials" / f"{n:04d}" for n in trials["trial"]}
    for number, epochs in told(folder).items():
        place = places.get(number) or finals[number - len(trials)]
        expected = [e["metrics"]["accuracy"] for e in epochs]
        rows = pd.read_csv(place / "progress.csv")
        assert rows["training_iteration"].tolist() == [e["epoch"] for e in epochs]
        assert rows["accuracy"].tolist() == pytest.approx(expected)
        assert rows["time_this_iter_s"].tolist() == pytest.approx([e["seconds"] for e in epochs])
        assert rows["time_total_s"].tolist() == pytest.approx(
            np.cumsum([e["seconds"] for e in epochs])
        )
        lines = [json.loads(line) for line in (place / "result.json").read_text().splitlines()]
        assert [line["accuracy"] for line in lines] == pytest.approx(expected)
        assert {line["trial_id"] for line in lines} == set(rows["trial_id"])
        assert lines[-1]["config"] == json.loads((place / "params.json").read_text())
        (board,) = place.glob("events.out.tfevents*")
        drawn = [(step, v) for step, name, v in scalars(board) if name == "ray/tune/accuracy"]
        curve = [(e["epoch"], e["metrics"]["accuracy"]) for e in epochs]
        assert drawn[: len(curve)] == [(step, pytest.approx(value)) for step, value in curve]
        if number in places:
            values = trials.set_index("trial").loc[number].filter(like="values.")
            assert {f"values.{k}": v for k, v in lines[-1]["config"].items()} == values.to_dict()
    assert len({path.read_text().splitlines()[1] for path in folder.rglob("progress.csv")}) > 1


def listened(root: Path, *callbacks: Any, say: Callable[[str], None] = print) -> Study:
    study = make_study(root, Random(budget=99, trials=3), 2)
    identity = Identity(StudyFolder(root), 0.0)
    members = {f"number {n}": callback for n, callback in enumerate(callbacks)}
    study.callbacks = Callbacks(members, identity, say)
    return study


def hooks() -> list[str]:
    return [hook if tag is None else f"{hook} {tag}" for hook, tag, _ in Recording.heard]


CRASH, BROKEN = Failure("a crash", final=False), Failure("diverged", final=True)


def test_each_hook_is_called_when_ray_calls_it(tmp_path: Path) -> None:
    """Trial 0 ends well, 1 crashes twice after an epoch, 2 is refused by itself."""
    study = listened(tmp_path, Recording())
    study.run(Scripted([0.5, [0.4, CRASH], BROKEN], lambda _: None), lambda: None)
    assert hooks() == [
        *("setup", "start 0", "result 0", "result 0", "complete 0"),
        *("start 1", "result 1", "recover 1", "start 1", "error 1"),
        *("start 2", "error 2", "end"),
    ]
    results = [result for hook, _, result in Recording.heard if hook == "result"]
    assert [r["done"] for r in results] == [False, True, False]
    assert [r[METRIC] for r in results] == [0.5, 0.5, 0.4]
    assert results[0]["config"] == SPACE.values(study.controller.trials[0].raw)


def test_a_resumed_study_does_not_repeat_itself(tmp_path: Path) -> None:
    study = listened(tmp_path, Recording())
    study.run(Scripted([0.5, 0.4, 0.3], lambda _: None), lambda: None)
    study.journal.close()
    whole, path = hooks(), tmp_path / "events.jsonl"
    ids = [result["trial_id"] for _, _, result in Recording.heard if result]
    lines = path.read_text().splitlines(keepends=True)
    cut = [n for n, line in enumerate(lines) if '"result"' in line][2]  # the first of trial 1
    path.write_text("".join(lines[: cut + 2]))
    Recording.heard.clear()
    again = listened(tmp_path, Recording())
    again.rebuild()
    again.run(Scripted([0.5, 0.4, 0.3], lambda _: None), lambda: None)
    assert hooks() == ["setup", "start 1", *whole[whole.index("result 1") + 1 :]]
    assert [r["trial_id"] for _, _, r in Recording.heard if r] == ids[3:]


def test_a_callback_that_breaks_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    study = listened(tmp_path, Failing(), Recording(), say=said.append)
    study.run(Scripted([0.5, 0.4, 0.3], lambda _: None), lambda: None)
    assert said == [
        "callbacks.number 0 left out: on_trial_result: OSError: the log's server is gone"
    ]
    assert [t.status for t in study.controller.trials] == ["TERMINATED"] * 3
    assert hooks().count("setup") == 2
    assert hooks().count("end") == 1


REFUSED = {
    "callbacks=[csv,xml]": "xml",
    "+callbacks.mine=7": "callbacks.mine: expected {_target_: <a ray.tune.Callback>}",
    "+callbacks.mine._target_=nowhere.Gone": "callbacks.mine: nowhere.Gone: ",
    "+callbacks.mine._target_=pathlib.Path": "callbacks.mine: expected a ray.tune.Callback, came",
    "+callbacks.mine._target_=tests.tuning.recording.Saving": "Saving.on_checkpoint would never be",
    "callbacks=mlflow": "mlflow",
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_is_no_callback_is_refused_in_one_line(
    mistake: str, command: Command, tmp_path: Path, capfd
) -> None:
    options = ["objective=replay", f"objective.table={make_table_file(tmp_path)}", mistake]
    assert command("tune.py", *options) == 1
    assert REFUSED[mistake] in error_of(capfd)
    assert not (tmp_path / "runs").exists()


def test_checkpoints_are_not_uploaded(command: Command, tmp_path: Path, capfd) -> None:
    options = ["objective=replay", f"objective.table={make_table_file(tmp_path)}"]
    options += ["callbacks=wandb", "+callbacks.wandb.upload_checkpoints=true"]
    assert command("tune.py", *options) == 1
    assert "callbacks.wandb.upload_checkpoints=true: checkpoints stay" in error_of(capfd)


@pytest.mark.xdist_group("ray")
def test_real_trainings_are_heard_of_too(
    command: Command, tiny: list[str], tmp_path: Path, ray_cluster: None
) -> None:
    options = ["space.data.batch_size={low: 1, high: 3}", "search=random", "search.budget=2"]
    options += ["search.final=0", "resources.workers=1", "callbacks=csv", "name=heard"]
    mine = "+callbacks.mine._target_=recording.Recording"
    assert command("tune.py", *tiny, *options, mine) == 0
    assert [h.split()[0] for h in hooks()] == [
        *("setup", *("start", "result", "result", "complete") * 2, "end")
    ]
    for place in sorted((tmp_path / "runs/tune/heard/trials").iterdir()):
        rows, own = pd.read_csv(place / "progress.csv"), pd.read_csv(place / "metrics.csv")
        assert rows["val/top1"].tolist() == pytest.approx(own["val/top1"].tolist())
        assert rows["training_iteration"].tolist() == [1, 2]


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_ray_tells_its_callbacks_the_same(tmp_path: Path, ray_cluster: None) -> None:
    from ray import tune

    def train(config: dict[str, Any]) -> None:
        for _ in range(2):
            tune.report({METRIC: 0.5})

    settings = tune.RunConfig(storage_path=str(tmp_path / "ray"), callbacks=[Recording()])
    tune.Tuner(train, param_space={"optimizer.lr": tune.choice([0.1])}, run_config=settings).fit()
    rays, results = hooks(), [result for _, _, result in Recording.heard if result]
    Recording.heard.clear()
    study = make_study(tmp_path / "ours", Random(budget=99, trials=1), 2)
    study.callbacks = Callbacks({"one": Recording()}, Identity(StudyFolder(tmp_path / "ours"), 0.0))
    study.run(Scripted([0.5], lambda _: None), lambda: None)
    assert [hook.split()[0] for hook in hooks()] == [hook.split()[0] for hook in rays]
    ours = [result for _, _, result in Recording.heard if result]
    assert [r["training_iteration"] for r in ours] == [r["training_iteration"] for r in results]
    assert set(ours[0]) - {METRIC} <= set(results[0])
    assert {k: type(v) for k, v in ours[0].items()} == {k: type(results[0][k]) for k in ours[0]}
