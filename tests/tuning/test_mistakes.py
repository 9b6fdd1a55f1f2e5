"""What a user gets wrong about a study: one line each, before any trial starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from hydra import compose, initialize_config_dir
from ray.autoscaler._private.util import prepare_config, validate_config

from carsclf.tuning.study.composition import Composition, changed
from tests.conftest import ROOT
from tests.offline_wandb import records
from tests.test_commands import error_of

Command = Callable[..., int]

pytestmark = pytest.mark.xdist_group("ray")

MISTAKES = {
    "space=published": "space=published goes with optimizer=sgd schedule=plateau",
    "+space.optimizer.speed={low: 1, high: 2}": "the space does not fit the training",
    "space.augmentation.choices=[light,heavy]": "heavy",
    "space.optimizer.lr.adamw.low=2": "empty range",
    "space.optimizer.lr.adamw.low=0": "above zero",
    "space.optimizer.lr.sgd.log=maybe": "space.optimizer.lr.sgd.log=maybe: expected true or false",
    "space.optimizer.lr.by=optimiser": "optimiser is not searched: did you mean 'optimizer' or",
    "space.optimizer.choices=[sgd]": "optimizer is one of sgd; remove them with ~space",
    "+space.optimizer.by=schedule": "space.optimizer: expected by or choices, not both",
    "space.mode.label_smoothing.high=2": "the space does not fit the training: mode.label",
    "+space.optimizer.nesterov.choices=yes": "choices",
    "seed=-1": "error: seed=-1: expected a whole number",
    "mode.label_smoothing=1.5": "error: mode.label_smoothing=1.5: expected a number",
    "data.root=null": "data.root has no value",
    "data.root=/nowhere": "data.root=/nowhere is no folder",
    "data.classes=[dog]": "dog",
    "data.crop=box": "have no boxes",
    "model.name=resnet19": "did you mean 'resnet1",
    "mode.boundary=99": "mode.boundary=99: expected 0 to",
    "trainer.devices=0": "trainer.devices=0: expected a whole number, at least 1",
    "trainer.devices=2": "trainer.devices=2: a trial has one process",
    "trainer.strategy=nonsense": "trainer.strategy=nonsense",
    "objective.metric=val/accuracy": "objective.metric=val/accuracy: expected val/top1, val/top5",
    "cluster=null": "cluster=null: choose from",
    "cluster.dashboard=maybe": "cluster.dashboard=maybe: expected true or false",
    "search.hours=0": "search.hours=0: expected a number, above 0",
    "+callbacks.mine._target_=pathlib.Path": "callbacks.mine: expected a ray.tune.Callback",
    "callbacks=lr_finder": "callbacks=lr_finder has no place in a study",
    'search.start=["callbacks=lr_finder"]': "callbacks=lr_finder has no place in a study",
    "name=..": "name=..: expected a folder's name",
    "search.budget=0.5": "search.budget=0.5: expected a number, at least 1",
    "search.trials=1.5": "search.trials=1.5: expected a whole number, at least 1",
    "search.seed=-1": "search.seed=-1: expected a whole number, at least 0",
    "search.grace=2": "search.grace=2",
    "~space": "space: nothing chosen",
    "trainer.max_epochs=0": "trainer.max_epochs=0: expected a whole number, at least 1",
    "+space.trainer.max_epochs={low: 1, high: 9, int: true}": "the search decides on epochs",
    "objective.mode=best": "objective.mode=best",
    "model.channels_last=maybe": "model.channels_last=maybe: expected auto, true, false",
    "objective=replay": "objective.table",
    "resume=nowhere": "no events.jsonl there",
    "resources.gpu=99": "resources.gpu=99: the cluster has 0 GPUs",
    "resources.cpu=99": "resources.cpu=99: the cluster has",
    "resources.cpu=1.5": "resources.cpu=1.5: expected a number, at least 0: a share below 1 or",
    "resources.cpu=many": "expected a number",
    "resources.workers=0": "resources.workers=0",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line(
    mistake: str,
    command: Command,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd,
    ray_cluster: None,
) -> None:
    options = [o for o in tiny if o.split("=")[0] != mistake.split("=")[0]]
    if not mistake.startswith(("data.batch_size", "optimizer=")):
        options.append("space.data.batch_size={low: 1, high: 3}")  # up to 8 of 48 pictures
    if mistake.startswith("resume="):
        options = []
    if mistake.startswith("~space"):
        options.pop()
    if not mistake.startswith("resources"):  # they are compared with the cluster that there is
        monkeypatch.setattr(
            "carsclf.tuning.study.execution.cluster", lambda *_, **__: pytest.fail("Ray started")
        )
    assert command("tune.py", *options, mistake) == 1
    assert MISTAKES[mistake] in error_of(capfd)
    assert not (tmp_path / "runs").exists()


def test_a_batch_larger_than_the_data_is_refused_before_any_trial(
    command: Command, tiny: list[str], tmp_path: Path, capfd, ray_cluster: None
) -> None:
    assert command("tune.py", *tiny, "name=large") == 1
    assert "data.batch_size=128: expected 1 to 48" in error_of(capfd)
    assert not (tmp_path / "runs/tune/large").exists()


def test_what_only_a_worker_can_know_arrives_as_the_line_that_train_gives(
    command: Command, tiny: list[str], tmp_path: Path, monkeypatch, capfd, ray_cluster: None
) -> None:
    monkeypatch.setattr(
        "carsclf.tuning.study.execution.rehearse", lambda _: None
    )  # as on a cluster
    options = ["space.data.batch_size={low: 1, high: 3}", "name=again"]
    for mistake in ("data.classes=[dog]", "trainer.strategy=nonsense", "data.crop=box"):
        assert command("train.py", *tiny, mistake) == 1
        alone = error_of(capfd)
        assert command("tune.py", *tiny, *options, mistake) == 1
        assert error_of(capfd) == alone
        assert not (tmp_path / "runs/tune/again").exists()


def test_a_study_of_an_odd_name_logs_each_trial_to_a_run_of_its_own(
    command: Command, tiny: list[str], tmp_path: Path, capfd, ray_cluster: None
) -> None:
    name = "[1] a:b=c'"
    options = ["space.data.batch_size={low: 1, high: 3}", "logger=wandb", f"name={name}"]
    options += [
        "search=random",
        "search.budget=2",
        "search.final=0",
        "resources.workers=1",
        "trainer.max_epochs=1",
    ]
    assert command("tune.py", *[o for o in tiny if "epochs" not in o], *options) == 0
    assert f"study folder: {tmp_path}/runs/tune/{name}" in capfd.readouterr().out
    folder = tmp_path / "runs/tune" / name
    runs = [
        {field: getattr(r.run, field) for field in ("run_id", "run_group")}
        for path in folder.glob("trials/*/wandb/offline-run-*/*.wandb")
        for r in records(path)
        if r.HasField("run")
    ]
    assert len({run["run_id"] for run in runs}) == len(runs) == 2
    assert {run["run_group"] for run in runs} == {name}
    ends = [
        any(r.HasField("exit") for r in records(path))
        for path in folder.glob("trials/*/wandb/offline-run-*/*.wandb")
    ]
    assert all(ends)
    best = folder / "best.yaml"
    assert command("train.py", f"overrides={best}", "name=won") == 0


def test_fidelities_must_increase(command: Command, tiny: list[str], capfd) -> None:
    options = ["search=multitask", "search.fidelities=[0.5,0.1,1.0]"]
    assert command("tune.py", *tiny, *options) == 1
    assert "expected increasing shares" in error_of(capfd)


def test_a_training_that_cannot_be_as_short_as_the_shortest_is_refused(
    command: Command, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """A tenth of 12 epochs becomes two, after which no stage may begin to train."""
    monkeypatch.setattr(
        "carsclf.tuning.study.execution.cluster", lambda *_, **__: pytest.fail("Ray started")
    )
    options = ["search=multitask", "trainer.max_epochs=12", "unfreezing=gradual"]
    options += ["unfreezing.epochs=[2]", "space.data.batch_size={low: 1, high: 3}"]
    assert command("tune.py", *tiny, *options) == 1
    said = "the shortest trainings of this search have 2 epochs: unfreezing.epochs=[2]"
    assert said in error_of(capfd)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def replayed(command: Command, tmp_path: Path) -> tuple[list[str], Path]:
    """A finished study on a small table, and the options it was made with."""
    import numpy as np
    from tables import HORIZON

    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "table.npz",
        params=generator.random((40, 2)),
        names=np.array(["lr", "momentum"]),
        log=np.array([False, False]),
        accuracy=generator.random((40, HORIZON)).astype(np.float32),
        cost=np.ones(40),
    )
    options = [
        "objective=replay",
        f"objective.table={tmp_path / 'table.npz'}",
        "search.budget=2",
        "search.final=0",
    ]
    assert command("tune.py", *options, "name=done") == 0
    return options, tmp_path / "runs/tune/done"


def test_resuming(command: Command, replayed: tuple[list[str], Path], capfd) -> None:
    options, folder = replayed
    before = (folder / "events.jsonl").read_text()
    capfd.readouterr()
    assert command("tune.py", f"resume={folder}", "search.budget=9") == 1
    assert "remove search.budget=9" in error_of(capfd)
    assert command("tune.py", *options, "name=done") == 1
    assert "exists: choose another name=" in error_of(capfd)
    with FileLock(folder / ".lock"):
        assert command("tune.py", f"resume={folder}") == 1
    assert "another tune.py" in error_of(capfd)
    assert command("tune.py", f"resume={folder}") == 0
    text = (folder / "events.jsonl").read_text()
    assert text.count('"result"') == before.count('"result"')
    path = folder / "events.jsonl"
    path.write_text(text.replace('"reduction": 3', '"reduction": 4', 1))
    assert command("tune.py", f"resume={folder}") == 1
    assert "search.reduction is no longer what the study began with" in error_of(capfd)


def test_a_changed_space_is_noticed() -> None:
    before = {"space": {"lr": {"low": 1}}, "a": 1}
    assert changed(before, {"space": {"lr": {"low": 2}}, "a": 1}) == "space.lr.low"
    assert (
        changed(before, {"space": {"lr": {"low": 1}, "momentum": {}}, "a": 1}) == "space.momentum"
    )
    assert changed(before, {"space": {"lr": {"low": 1}}, "a": 1, "new": 2}) is None


def test_the_winner_is_what_train_composes() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        made = Composition.of(
            [
                "experiment=demo",
                "space=modern",
                "optimizer=adamw",
                "search=bohb",
                "runs=/x",
                "seed=3",
            ]
        )
        assert "optimizer=adamw" in made.training
        assert "mode=freeze" in made.training
        assert "seed=3" in made.training
        assert not any(o.startswith(("space", "search", "runs")) for o in made.training)
        trial = made.trial(["schedule=cosine", "optimizer.lr=0.25"], 5, "a-study")
        alone = compose("train", [*made.training, "schedule=cosine", "optimizer.lr=0.25"])
    assert trial["optimizer"] == alone.optimizer
    assert trial["schedule"]["_target_"].endswith("cosine")
    assert trial["trainer"]["max_epochs"] == 5


def test_the_launcher_file_fits_rays_schema() -> None:
    text = (ROOT / "conf/cluster/launcher/twenty_gpus.yaml").read_text()
    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    assert config["available_node_types"]["gpu"]["min_workers"] == 20
    assert config["available_node_types"]["gpu"]["resources"]["GPU"] == 1
