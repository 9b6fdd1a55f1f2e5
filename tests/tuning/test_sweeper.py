"""`train.py -m hydra/sweeper=ray_tune`: Hydra's sweeps as a space, and the study they begin."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from carsclf.tuning.ranges import study_overrides
from carsclf.tuning.space import Parameter, Space
from carsclf.tuning.study.composition import Composition
from tests.conftest import ROOT
from tests.test_commands import error_of

Command = Callable[..., int]
SWEEPER = ("-m", "hydra/sweeper=ray_tune")

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture
def translated() -> Any:
    """Makes of a command line's words the study's overrides."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield lambda *words: study_overrides(words, GlobalHydra.instance().config_loader())


def choices(key: str, *values: Any) -> Parameter:
    return Parameter(key, choices=values)


RATE, STEPS, BATCH = "optimizer.lr", "trainer.log_every_n_steps", "data.batch_size"
GRAMMAR = {
    "optimizer.lr=interval(1e-4,0.1)": Parameter(RATE, 0.0001, 0.1),
    "optimizer.lr=interval(1,3)": Parameter(RATE, 1.0, 3.0),  # whole ends, not whole numbers
    "optimizer.lr=tag(log, interval(1e-4,1e-1))": Parameter(RATE, 0.0001, 0.1, log=True),
    "data.batch_size=int(interval(4,64))": Parameter(BATCH, 4, 64, integer=True),
    "data.batch_size=tag(log, int(interval(4,64)))": Parameter(BATCH, 4, 64, True, True),
    "trainer.log_every_n_steps=range(1,9)": Parameter(STEPS, 1, 8, integer=True),
    "trainer.log_every_n_steps=range(9)": Parameter(STEPS, 0, 8, integer=True),
    "trainer.log_every_n_steps=tag(log, range(1,9))": Parameter(STEPS, 1, 8, True, True),
    "trainer.log_every_n_steps=shuffle(range(1,9))": Parameter(STEPS, 1, 8, integer=True),
    "trainer.log_every_n_steps=sort(range(1,9),reverse=true)": Parameter(STEPS, 1, 8, integer=True),
    "trainer.log_every_n_steps=range(8,0,-1)": Parameter(STEPS, 1, 8, integer=True),
    "trainer.log_every_n_steps=range(8,9)": choices(STEPS, 8),
    "data.batch_size=range(16,65,16)": choices(BATCH, 16, 32, 48, 64),
    "optimizer.lr=range(0.25,1.0,0.25)": choices(RATE, 0.25, 0.5, 0.75),
    "optimizer.lr=float(range(1,4))": choices(RATE, 1.0, 2.0, 3.0),
    "optimizer=sgd,adamw": choices("optimizer", "sgd", "adamw"),
    "optimizer=choice(sgd,adamw)": choices("optimizer", "sgd", "adamw"),
    "optimizer=sort(sgd,adamw)": choices("optimizer", "adamw", "sgd"),
    "data.batch_size=shuffle(9,8,7,6,5,4,3,2)": choices(BATCH, 9, 8, 7, 6, 5, 4, 3, 2),
    "optimizer=glob(*,exclude=[lbfgs,head_grid,schedule_free])": choices(
        "optimizer", "adamw", "sgd"
    ),
    "optimizer.nesterov=true,false": choices("optimizer.nesterov", True, False),
    "optimizer.betas=[0.9,0.99],[0.8,0.9]": choices("optimizer.betas", [0.9, 0.99], [0.8, 0.9]),
    "model.name='a, b',\"c'\"": choices("model.name", "a, b", "c'"),
    "++data.margin=0,0.5": choices("data.margin", 0, 0.5),
}


@pytest.mark.parametrize("sweep", GRAMMAR)
def test_each_sweep_is_what_one_would_write_by_hand(sweep: str, translated: Any) -> None:
    config = compose("tune", translated(sweep, "seed=3"))
    assert config.seed == 3
    assert list(Space.from_config(OmegaConf.to_container(config.space))) == [GRAMMAR[sweep]]  # type: ignore[arg-type]


def test_what_is_no_sweep_is_the_studys_own(translated: Any) -> None:
    """The last word on a key counts, and a value before a sweep is where the search starts."""
    words = ["optimizer.lr=0.5", "seed=1", "seed=2", "optimizer=sgd,adamw", "optimizer.lr=1,2"]
    words += ["mode=freeze,finetune", "mode=finetune", "search=bohb", "~data.margin"]
    assert translated(*words) == [
        *("optimizer.lr=0.5", "seed=1", "seed=2", "mode=finetune", "search=bohb", "~data.margin"),
        *(
            "~space",
            "+space.optimizer={choices:[sgd,adamw]}",
            "+space.optimizer.lr={choices:[1,2]}",
        ),
    ]


def test_a_key_that_is_added_starts_from_the_first_value(translated: Any) -> None:
    made = Composition.of(translated("+trainer.accumulate_grad_batches=2,4"))
    assert made.config.trainer.accumulate_grad_batches == 2
    space = Space.from_config(OmegaConf.to_container(made.config.space))  # type: ignore[arg-type]
    made.check(space)
    assert made.values([], space) == {"trainer.accumulate_grad_batches": 2}


def test_an_experiments_search_counts_but_not_its_space(translated: Any) -> None:
    sweep = "optimizer.weight_decay=interval(0.1,0.2)"
    made = Composition.of(translated("experiment=demo_finetune", sweep))
    assert (made.config.search.budget, made.config.trainer.max_epochs) == (5, 6)
    assert made.config.space == {"optimizer": {"weight_decay": {"low": 0.1, "high": 0.2}}}


def test_a_list_of_overrides_begins_a_study(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a configuration has in hydra.sweeper.params, as with other sweepers."""
    begun: list[list[str]] = []
    monkeypatch.setattr(
        "carsclf.tuning.command._study", lambda overrides, *_, **__: begun.append(overrides)
    )
    best = tmp_path / "best.yaml"
    best.write_text("- optimizer=sgd\n- optimizer.lr=0.25\n")
    further = ["hydra.sweeper.params={seed: 7, optimizer.momentum: 'interval(0.5,0.9)'}"]
    options = [f"overrides={best}", "optimizer.lr=0.1,0.2", "resources.workers=2"]
    assert command("train.py", *SWEEPER, *further, *options) == 0
    assert begun == [
        [
            *("seed=7", "optimizer=sgd", "optimizer.lr=0.25", "resources.workers=2", "~space"),
            "+space.optimizer.momentum={low:0.5,high:0.9}",
            "+space.optimizer.lr={choices:[0.1,0.2]}",
        ]
    ]


MISTAKES = {
    "seed=3": "nothing is searched: expected a sweep",
    "optimizer.lr=tag(fast, interval(0,1))": "expected no tag but log, got fast",
    "optimizer.lr=tag(log, choice(1,2))": "optimizer.lr=tag(log, choice(1,2)): expected log with",
    "data.batch_size=tag(log, range(8,64,8))": "expected log with interval(low,high), or",
    "data.batch_size=range(8,64,0)": "expected a step other than 0",
    "data.batch_size=range(64,8)": "data.batch_size=range(64,8): this holds no value",
    "data.batch_size=range(0,1000000000,8)": "expected at most 1000 choices",
    "optimizer=glob(x*)": "optimizer=glob(x*): this holds no value",
    "optimizer.lr=interval(1,0.1)": "space.optimizer.lr: empty range, low=1.0 must be below",
    "optimizer.lr=tag(log, interval(0,1))": "a log range must stay above zero",
    "optimizer.lr=bool(interval(0,1))": "Intervals cannot be cast to bool",
    "optimizer.lrr=interval(0.1,1)": "did you mean 'lr'?",
    "optimizer.lr=choice(0.1,-1)": "does not fit the training: optimizer.lr=-1: expected",
    "optimizer=adamw,adam": "adam",
    "trainer.max_epochs=range(1,9)": "the search decides on epochs",
    "seed=0,1": "seed=0,1: a study has one seed",
    "experiment=demo,first_cars": "an experiment is the training that is searched",
    "name=a,b": "name=a,b: this is no option of the training",
    "search=asha,bohb": "search=asha,bohb: this is no option of the training",
    "overrides=a.yaml,b.yaml": "overrides=a.yaml,b.yaml: this is no option of the training",
    "space=modern": "space=modern: the sweeps are the space here",
    "resume=runs/tune/a": "resume=runs/tune/a: go on with: python tune.py resume=",
    "objective=replay": "objective=replay: expected objective=train",
    "search.budget=0.5": "search.budget=0.5: expected a number, at least 1",
    "resources.workers=0": "resources.workers=0: expected a whole number, at least 1",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_and_starts_nothing(
    mistake: str, command: Command, tiny: list[str], tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(
        "carsclf.tuning.study.execution.cluster", lambda _: pytest.fail("Ray started")
    )
    key = mistake.split("=")[0]
    alone = "(" in mistake or "," in mistake or mistake == "seed=3"
    sweep = [] if alone else ["optimizer.lr=interval(0.1,1)"]
    options = [o for o in tiny if o.split("=")[0] != key]
    assert command("train.py", *SWEEPER, *options, *sweep, mistake) == 1
    assert MISTAKES[mistake] in error_of(capfd)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("script", ["tune.py", "evaluate.py"])
def test_only_a_training_is_searched(script: str, command: Command, capfd) -> None:
    assert command(script, *SWEEPER) == 1
    assert f"expected python train.py -m ..., not {script}" in error_of(capfd)


def test_the_sweeper_is_found_without_torch_or_ray(tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        "from hydra.core.plugins import Plugins\n"
        "sys.argv[:] = 'train.py hydra/sweeper=ray_tune search.budget=7 --cfg job'.split()\n"
        f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        "assert 'RayTune' in [found.__name__ for found in Plugins.instance().discover()]\n"
        "print('heavy:', *({'torch', 'ray', 'pandas', 'carsclf.tuning'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "budget: 7" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "heavy:"
    assert done.stderr == ""


def test_a_study_that_tune_resumes(
    command: Command, tiny: list[str], tmp_path: Path, capfd, ray_cluster: None
) -> None:
    study = [*(o for o in tiny if "epochs" not in o), "trainer.max_epochs=1", "resources.workers=1"]
    study += ["search=random", "search.budget=3", "search.final=0", "name=swept"]
    sweeps = ["optimizer.lr=tag(log, interval(1e-4,1e-3))", "optimizer=adamw,sgd"]
    assert command("train.py", *SWEEPER, *study, *sweeps, "data.batch_size=range(12,25,12)") == 0
    said = capfd.readouterr().out
    folder = tmp_path / "runs/tune/swept"
    assert "swept (random)" in said
    assert said.splitlines()[-1] == f"next: python train.py overrides={folder}/best.yaml"
    assert "mean ± standard deviation" not in said  # the table of a sweep of trainings
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["tune"]

    trials = pd.read_parquet(folder / "trials.parquet")
    assert trials["overrides"][0].tolist() == []  # the study as it was composed
    searched = trials.iloc[1:]
    assert all(1e-4 <= rate <= 1e-3 for rate in searched["values.optimizer.lr"])
    assert set(searched["values.optimizer"]) <= {"adamw", "sgd"}
    assert set(searched["values.data.batch_size"]) <= {"12", "24"}
    for number, values in searched.iterrows():
        config = OmegaConf.load(folder / "trials" / f"{number:04d}" / "config.yaml")
        assert config.optimizer.lr == values["values.optimizer.lr"]
        assert config.optimizer._target_.endswith(values["values.optimizer"])
        assert str(config.data.batch_size) == values["values.data.batch_size"]

    journal = folder / "events.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "result")
    journal.write_text("".join(lines[: first + 1]))  # as after a kill
    assert command("tune.py", f"resume={folder}") == 0
    again = pd.read_parquet(folder / "trials.parquet")
    assert [o.tolist() for o in again["overrides"]] == [o.tolist() for o in trials["overrides"]]
    assert again["best"].tolist() == trials["best"].tolist()
