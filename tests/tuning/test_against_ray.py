"""With one worker, the loop decides what Ray's own Tuner decides with the same objects."""

from pathlib import Path

import pytest
from ray import tune
from tables import SEARCHES, make_searches, make_table

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


def by_ray(name, folder):
    search = make_searches(budget=BUDGET, trials=TRIALS, rungs=3)[name]
    searcher, scheduler = search.build(make_table(horizon=HORIZON).space, HORIZON, None)
    heard = Heard()
    results = tune.Tuner(
        tune.with_parameters(Recorded, name=name),
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


def by_loop(name):
    search = make_searches(budget=BUDGET, trials=TRIALS, rungs=3)[name]
    events = replay(search, make_table(horizon=HORIZON))[0].journal.events
    keys = [_key(event["raw"]) for event in events if event["kind"] == "suggest"]
    return [(keys[e["trial"]], e["epoch"]) for e in events if e["kind"] == "result"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_one_worker_decides_as_rays_tuner(name, ray_cluster, tmp_path):
    assert by_loop(name) == by_ray(name, tmp_path)
