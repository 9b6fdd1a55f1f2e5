"""Every scheduler and searcher of the installed Ray: carried, or refused in one line."""

import ast
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.tune import schedulers
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search import SEARCH_ALG_IMPORT, ConcurrencyLimiter, Repeater, Searcher
from scripted import epochs, run_study
from tables import HORIZON, make_table
from test_journal import decisions

from carsclf.errors import CheckpointError, ConfigError
from carsclf.tuning.search.ray import Ray
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.study.study import Study
from carsclf.tuning.trial import FAILED, Start, Trial
from carsclf.tuning.workers.protocol import Event, Failure
from carsclf.tuning.workers.recorded import RecordedWorkers, Table

Command = Callable[..., int]
Part = dict[str, Any]
BUDGET = 4
TABLE = make_table()


def of(made: type, **options: Any) -> Part:
    return {"_target_": f"{made.__module__}.{made.__qualname__}", **options}


class Noting(Searcher):
    """Proposes the middle; writes down what it is told of others' points."""

    told: list[tuple[dict, float]]

    def __init__(self) -> None:
        super().__init__()
        self.told = []

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        return TABLE.raw(0)

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass

    def add_evaluated_point(self, parameters, value, *args, **options):
        self.told.append((parameters, value))


class Deaf(Noting):
    add_evaluated_point = Searcher.add_evaluated_point


class Moody(Noting):
    """Never the same again."""

    def suggest(self, trial_id):
        return TABLE.raw(int.from_bytes(os.urandom(1), "big"))


OPTUNA = of(SEARCH_ALG_IMPORT["optuna"]())
LIMITED = of(ConcurrencyLimiter, max_concurrent=2, searcher=OPTUNA)
SCHEDULERS: dict[type, Part] = {
    schedulers.FIFOScheduler: {},
    schedulers.ASHAScheduler: {"brackets": 3},
    schedulers.HyperBandScheduler: {},
    schedulers.MedianStoppingRule: {"grace_period": 3},
}
CASES: dict[str, tuple[Part | None, Part | None]] = {
    **{made.__name__: (of(made, **extra), OPTUNA) for made, extra in SCHEDULERS.items()},
    "pausing": (of(schedulers.MedianStoppingRule, grace_period=3, hard_stop=False), OPTUNA),
    "bohb": (of(schedulers.HyperBandForBOHB), of(SEARCH_ALG_IMPORT["bohb"]())),
    "limited": (of(schedulers.ASHAScheduler), LIMITED),
    "sampler": (None, OPTUNA | {"sampler": {"_target_": "optuna.samplers.RandomSampler"}}),
    "neither": (None, None),
}
REFUSED = {
    schedulers.PopulationBasedTraining: "rewrites the configurations",
    schedulers.PopulationBasedTrainingReplay: "rewrites the configurations",
    PB2: "rewrites the configurations",
    schedulers.ResourceChangingScheduler: "give resources.cpu",
    Repeater: "search.final draws other seeds",
}


def make(case: tuple[Part | None, Part | None], budget: float = BUDGET, **options: Any) -> Ray:
    return Ray(budget=budget, trials=100, scheduler=case[0], searcher=case[1], **options)


def make_study(root: Path, search: Ray, starts: list[Start] | None = None) -> Study:
    folder = StudyFolder(root)
    journal = Journal(folder.events)
    loop = Controller(search, TABLE.space, HORIZON, journal.record, starts or [])
    return Study(journal, loop, "accuracy", 1, folder)


class Faulty(RecordedWorkers):
    """Trial 2 always fails at once; once a machine dies in the second epoch of a trial."""

    def __init__(self, table: Table, count: int, events: list[dict]) -> None:
        super().__init__(table, count, "accuracy")
        self.events = events

    def next(self, timeout: float) -> Event | None:
        event = super().next(timeout)
        if event is None:
            return None
        trial = event.trial
        lost = trial.epoch == 1 and not died(self.events)
        if trial.number != 2 and not lost:
            return event
        self.halt(trial)
        said = "node died" if lost else "out of memory"
        return Event(trial, failure=Failure(said, final=False), lost=lost)


def died(events: list[dict]) -> list[int]:
    """The trials whose machine died."""
    return [e["trial"] for e in events if e.get("error") == "node died"]


def run(study: Study, workers: int = 1) -> Study:
    study.rebuild()
    study.run(Faulty(TABLE, workers, study.journal.events), lambda: None)
    study.journal.close()
    return study


def refusal(case: tuple[Part | None, Part | None], horizon: int = HORIZON) -> str:
    with pytest.raises(ConfigError) as caught:
        make(case).build(TABLE.space, horizon, None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_scheduler_is_carried_or_refused_with_the_reason() -> None:
    there = {getattr(schedulers, name) for name in schedulers.__all__} | {PB2}
    there -= {schedulers.TrialScheduler}
    assert there - REFUSED.keys() == {*SCHEDULERS, schedulers.HyperBandForBOHB}, (
        "Ray has other schedulers than these: add a case here, or a reason to REFUSED"
    )
    for made in there & REFUSED.keys():
        assert REFUSED[made] in refusal((of(made), None))


def test_every_searcher_is_carried_or_names_what_to_install() -> None:
    there = {load() for load in SEARCH_ALG_IMPORT.values()} | {ConcurrencyLimiter, Repeater}
    carried = {made for made in there if made.__name__ in ("OptunaSearch", "TuneBOHB")}
    for made in there - carried - {ConcurrencyLimiter}:
        said = refusal((None, of(made)))
        if made is Repeater:
            assert REFUSED[Repeater] in said
        elif not issubclass(made, Searcher):  # Ray's own random search
            assert "or null" in said
        else:
            assert "pip install" in said, f"{made.__name__} is installed now: add a case here"


MISTAKES: dict[str, tuple[Part | None, Part | None]] = {
    "HyperBandForBOHB and TuneBOHB only work": (of(schedulers.HyperBandForBOHB), OPTUNA),
    "only work with each other": (None, of(SEARCH_ALG_IMPORT["bohb"]())),
    "grace_period=60: a training has 27 epochs": (of(schedulers.MedianStoppingRule), None),
    "scheduler.metric: the study gives it": (of(schedulers.ASHAScheduler, metric="a"), None),
    "searcher.space: the study gives it": (None, OPTUNA | {"space": {}}),
    "did you mean 'brackets' or 'grace_period'": (of(schedulers.ASHAScheduler, grace=1), None),
    "Reduction Factor not valid": (of(schedulers.ASHAScheduler, reduction_factor=1), None),
    "scheduler._target_=ray.tune.Nothing": ({"_target_": "ray.tune.Nothing"}, None),
    "expected a TrialScheduler of Ray Tune, or null": (OPTUNA, None),
    "expected a Searcher of Ray Tune, or null": (None, of(schedulers.FIFOScheduler)),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_a_part_that_cannot_be_is_refused_in_one_line(said: str) -> None:
    assert said in refusal(MISTAKES[said])


def test_the_median_rule_stops_whom_it_does_by_hand(tmp_path: Path) -> None:
    """The same score at every epoch, so that its running mean is the score.

    At epoch 2 against medians of (.5), (.5 .4), (.5 .4 .6) and (.5 .4 .6 .45): only .6 and .52 are
    not below them. At epoch 3 only .5 and .6 have come as far, and .52 is below their .55.
    """
    part = of(schedulers.MedianStoppingRule, grace_period=2, min_samples_required=1)
    study = run_study(tmp_path, make((part, None), 9), 6, [0.5, 0.4, 0.6, 0.45, 0.52, *[0.0] * 99])
    assert epochs(study)[:5] == [6, 2, 6, 2, 3]


def test_a_prior_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.prior"):
        make((None, None), prior=0.3)


@pytest.mark.parametrize("case", CASES)
def test_cut_anywhere_it_goes_on_as_if_undisturbed(case: str, tmp_path: Path) -> None:
    study = run(make_study(tmp_path / "whole", make(CASES[case])))
    whole = tmp_path / "whole" / "events.jsonl"
    lines = whole.read_bytes().splitlines(keepends=True)
    assert study.controller.trials[2].status == FAILED
    (lost,) = died(study.journal.events)
    assert study.controller.trials[lost].epoch > 1
    assert 2 < study.controller.spent <= BUDGET + 1e-9
    for number, cut in enumerate(range(1, len(lines), max(1, len(lines) // 6))):
        root = tmp_path / str(number)
        root.mkdir()
        torn = lines[cut][: len(lines[cut]) // 2]
        (root / "events.jsonl").write_bytes(b"".join(lines[:cut]) + torn)
        np.random.seed(number)  # noqa: NPY002 - what others draw does not matter
        run(make_study(root, make(CASES[case])))
        assert decisions(root / "events.jsonl") == decisions(whole)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_many_workers_twice_killed(case: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    run(make_study(tmp_path, make(CASES[case], 8)), 5)
    for share in (0.3, 0.6):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: int(len(lines) * share)]))
        study = run(make_study(tmp_path, make(CASES[case], 8)), 5)
    assert 5 < study.controller.spent <= 8 + 1e-9
    assert not study.controller.running
    assert not study.controller.waiting
    (lost,) = died(study.journal.events)
    assert study.controller.trials[lost].epoch > 1


def test_a_searcher_that_does_not_repeat_itself_is_told_of_in_one_line(tmp_path: Path) -> None:
    search = make((None, of(Moody)))
    run(make_study(tmp_path, search))
    with pytest.raises(CheckpointError, match=r"does not repeat itself.*searcher\.seed=0") as said:
        run(make_study(tmp_path, search))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(("made", "heard"), [(Noting, True), (Deaf, False)])
def test_a_known_configuration_is_told_with_its_score_where_it_can_be(
    made: type, heard: bool, tmp_path: Path
) -> None:
    raw = TABLE.raw(7)
    study = make_study(tmp_path, make((None, of(made)), 2), [Start("incumbent", [], raw)])
    run(study)
    score = float(TABLE.accuracy[7, -1])
    assert study.controller.searcher._searcher.told == ([(raw, score)] if heard else [])


def read_attributes(source: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is read of variables of these names, as (whose, attribute)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whose = names.get(node.value.id)
            if whose:
                yield whose, node.attr


def test_schedulers_read_nothing_that_trials_and_loop_do_not_have() -> None:
    loop = Controller(make((None, None)), TABLE.space, HORIZON, lambda *_, **__: None)
    have = {"trial": Trial(0, {}, [], 1, False), "loop": loop._driven._ray}
    names = {"trial": "trial", "t": "trial", "tune_controller": "loop"}
    for made in (*SCHEDULERS, schedulers.HyperBandForBOHB):
        with open(inspect.getfile(made)) as file:
            read = set(read_attributes(file.read(), names))
        missing = [f"{whose}.{name}" for whose, name in read if not hasattr(have[whose], name)]
        assert not missing, f"Ray's {made.__name__} now reads {missing}"


@pytest.mark.slow
def test_from_the_command_line(command: Command, tmp_path: Path) -> None:
    columns = {
        "params": np.array([list(TABLE.raw(row).values()) for row in range(len(TABLE.cost))]),
        "names": np.array([p.name for p in TABLE.space]),
        "log": np.array([p.log for p in TABLE.space]),
    }
    columns |= {"accuracy": TABLE.accuracy, "cost": TABLE.cost}
    np.savez(tmp_path / "t.npz", **columns)  # type: ignore[arg-type]
    study = [
        *("objective=replay", f"objective.table={tmp_path / 't.npz'}", "name=median", "search=ray"),
        *("search.budget=8", "search.final=0"),
        "search.scheduler._target_=ray.tune.schedulers.MedianStoppingRule",
        "+search.scheduler.grace_period=3",
        "search.searcher._target_=ray.tune.search.optuna.OptunaSearch",
    ]
    assert command("tune.py", *study) == 0
    events = tmp_path / "runs/tune/median/events.jsonl"
    whole, lines = decisions(events), events.read_text().splitlines(keepends=True)
    assert any("MedianStoppingRule" in line for line in lines)
    events.write_text("".join(lines[: len(lines) // 2]))
    assert command("tune.py", f"resume={events.parent}") == 0
    assert decisions(events) == whole
    assert json.loads((events.parent / "study.json").read_text())["search"] == "ray"
