"""With one worker, the loop decides what Ray's own Tuner decides with the same objects."""

from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.tune import schedulers
from ray.tune.search.bohb import TuneBOHB
from ray.tune.search.optuna import OptunaSearch
from tables import SEARCHES, make_searches, make_table

from carsclf.tuning.search.ray import Ray
from carsclf.tuning.study.replay import replay
from carsclf.tuning.trial import FIDELITY, SCORE, length

TRIALS, BUDGET, HORIZON = 12, 1000, 9


class Recorded(tune.Trainable):
    """A recorded curve, told epoch by epoch."""

    def setup(self, config, name="random"):
        self.table, self.search = make_table(horizon=HORIZON), make_searches(rungs=3)[name]
        self.reset_config(config)

    def reset_config(self, new_config):
        config, self.epoch = new_config, 0
        self.row = self.table.row({p.key: config[p.key] for p in self.table.space})
        fidelity = config.get(FIDELITY, 1.0)
        self.end = length(fidelity, HORIZON) if self.search.fixed else HORIZON + 1
        return True

    def step(self):
        self.epoch += 1
        told = self.search.clock(self.epoch, HORIZON)
        told[SCORE] = float(self.table.accuracy[self.row, self.epoch - 1])
        return {**told, "done": self.epoch >= self.end}

    def save_checkpoint(self, checkpoint_dir):
        (Path(checkpoint_dir) / "epoch").write_text(str(self.epoch))

    def load_checkpoint(self, checkpoint):
        assert isinstance(checkpoint, str)
        self.epoch = int((Path(checkpoint) / "epoch").read_text())


class Heard(tune.Callback):
    """The results Ray received, in order."""

    def __init__(self):
        self.results = []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.results.append((_key(trial.config), result["training_iteration"]))


def _key(raw):
    return tuple(sorted((k, round(float(v), 9)) for k, v in raw.items() if k != FIDELITY))


class Ending(Recorded):
    """A recorded curve that is done at its end, as a training is."""

    def reset_config(self, new_config):
        self.search, self.end = make_searches()["random"], HORIZON
        self.epoch, self.row = 0, self.table.row(new_config)
        return True


def by_ray(name, folder):
    search = make_searches(budget=BUDGET, trials=TRIALS, rungs=3)[name]
    searcher, scheduler = search.build(make_table(horizon=HORIZON).space, HORIZON, None)
    return by_tuner(tune.with_parameters(Recorded, name=name), searcher, scheduler, folder)


def by_tuner(trainable, searcher, scheduler, folder):
    heard = Heard()
    results = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=TRIALS,
            max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[heard]),
    ).fit()
    assert results.num_errors == 0  # an errored trial does not change Tuner's exit
    return heard.results


def by_loop(search):
    events = replay(search, make_table(horizon=HORIZON))[0].journal.events
    keys = [_key(event["raw"]) for event in events if event["kind"] == "suggest"]
    return [(keys[e["trial"]], e["epoch"]) for e in events if e["kind"] == "result"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEARCHES if name != "freeze_thaw"])
# which is asked whom to go on with before it is asked for a new trial; Tuner does the reverse, and
# waits for ever once it may start no more
def test_one_worker_decides_as_rays_tuner(name, ray_cluster, tmp_path):
    search = make_searches(budget=BUDGET, trials=TRIALS, rungs=3)[name]
    assert by_loop(search) == by_ray(name, tmp_path)


TUNER = {"metric": SCORE, "mode": "max", "time_attr": "training_iteration"}
PARTS = {
    "fifo": (schedulers.FIFOScheduler, {}, OptunaSearch),
    "asha": (schedulers.ASHAScheduler, {"brackets": 2, "reduction_factor": 3}, OptunaSearch),
    "hyperband": (schedulers.HyperBandScheduler, {}, OptunaSearch),
    "median": (schedulers.MedianStoppingRule, {"grace_period": 2}, OptunaSearch),
    "pausing": (
        schedulers.MedianStoppingRule,
        {"grace_period": 2, "hard_stop": False},
        OptunaSearch,
    ),
    "bohb": (schedulers.HyperBandForBOHB, {}, TuneBOHB),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_any_parts_of_ray_decide_as_under_its_tuner(name, ray_cluster, tmp_path):
    made, options, asked = PARTS[name]
    searcher = {"_target_": f"{asked.__module__}.{asked.__name__}"}
    if asked is OptunaSearch:  # as the Tuner wraps it for one worker
        limiter = "ray.tune.search.ConcurrencyLimiter"
        searcher = {"_target_": limiter, "max_concurrent": 1, "searcher": searcher}
    scheduler = {"_target_": f"{made.__module__}.{made.__name__}", **options}
    ours = Ray(budget=BUDGET, trials=TRIALS, scheduler=scheduler, searcher=searcher)
    told = {} if name == "fifo" else TUNER
    told = told | ({} if name in ("fifo", "median", "pausing") else {"max_t": HORIZON})
    rays = asked(seed=0)
    assert rays.set_search_properties(SCORE, "max", make_table(horizon=HORIZON).space.domains)
    np.random.seed(0)  # noqa: NPY002 - ASHA's brackets and hpbandster draw from it
    assert by_loop(ours) == by_tuner(Ending, rays, made(**options, **told), tmp_path)
