from tables import HORIZON, make_searches

from carsclf.tuning.study.controller import CONTINUE, STOP, Controller
from carsclf.tuning.trial import FAILED, SCORE, Trial


def make_loop(table, name="asha", **options):
    records = []
    loop = Controller(
        make_searches(**options)[name],
        table.space,
        HORIZON,
        lambda kind, **fields: records.append((kind, fields)),
    )
    return loop, records


def take(loop) -> Trial:
    """The next trial, of which there must be one."""
    trial = loop.ask()
    assert trial is not None
    return trial


def train(loop, trial, score=0.5, epochs=HORIZON):
    for _ in range(epochs):
        if loop.tell(trial, trial.epoch + 1, {SCORE: score}, 1.0) != CONTINUE:
            return


def test_a_failed_trial_is_retried_once_from_where_it_was(table):
    loop, _ = make_loop(table)
    trial = take(loop)
    assert loop.tell(trial, 1, {SCORE: 0.3}, 1.0) == CONTINUE
    loop.fail(trial, "out of memory")
    assert loop.ask() is trial
    assert trial.epoch == 1
    loop.fail(trial, "out of memory")
    assert trial.status == FAILED
    assert trial.error == "out of memory"
    assert loop.ask() is not trial


def test_a_lost_machine_does_not_use_up_the_retry(table):
    loop, _ = make_loop(table)
    trial = take(loop)
    for _ in range(3):
        loop.fail(trial, "node died", lost=True)
        assert loop.ask() is trial
    loop.fail(trial, "diverged")
    assert loop.ask() is trial


def test_a_failure_in_a_bracket_does_not_hold_it_up(table):
    loop, _ = make_loop(table, "bohb", budget=12)
    failures = 0
    while (trial := loop.ask()) is not None:
        if trial.number == 3:
            loop.fail(trial, "diverged")
            failures += 1
        else:
            train(loop, trial, score=trial.number / 1000)
    assert failures == 2
    assert loop.spent > 11


def test_the_best_is_the_best_of_any_epoch(table):
    loop, _ = make_loop(table, "random")
    trial = take(loop)
    loop.tell(trial, 1, {SCORE: 0.9}, 1.0)
    loop.tell(trial, 2, {SCORE: 0.1}, 1.0)
    assert loop.best is trial
    assert trial.best == 0.9


def test_a_running_epoch_counts_as_spent_and_the_last_one_fits(table):
    loop, _ = make_loop(table, "asha", budget=1)
    trial = take(loop)
    assert loop.spent == 1 / HORIZON
    train(loop, trial)
    assert trial.epoch == HORIZON
    assert loop.ask() is None
    assert loop.spent == 1


def test_a_study_cut_by_its_budget_stops_its_trials(table):
    loop, records = make_loop(table, "asha", budget=1)
    one, two = take(loop), take(loop)
    decisions = []
    while loop.running:
        decisions += [
            loop.tell(trial, trial.epoch + 1, {SCORE: 0.5}, 1.0)
            for trial in (one, two)
            if trial in loop.running
        ]
    assert decisions.count(STOP) == 2
    assert one.epoch + two.epoch == HORIZON
    assert [r for r in records if r[0] == "decision"][-1][1]["decision"] == STOP


def test_what_waits_for_another_worker_is_promised_its_epoch(table):
    """25 of 27 epochs are spent: one for the trial that lost its worker, one for the other."""
    loop, _ = make_loop(table, "asha", budget=1)
    one, two = take(loop), take(loop)
    train(loop, one, epochs=13)
    train(loop, two, epochs=12)
    loop.fail(one, "node died", lost=True)
    assert loop.tell(two, 13, {SCORE: 0.5}, 1.0) == STOP
    assert two.ended == "budget spent"
    assert take(loop) is one
    assert loop.tell(one, 14, {SCORE: 0.5}, 1.0) == STOP
    assert (loop.ask(), loop.epochs) == (None, HORIZON)


def test_everything_is_recorded_in_order(table):
    loop, records = make_loop(table, "random", budget=1)
    train(loop, take(loop))
    kinds = [kind for kind, _ in records]
    assert kinds == ["suggest", "start"] + ["result", "decision"] * HORIZON


def test_a_trial_that_diverged_later_is_no_winner(table):
    loop, _ = make_loop(table)
    wild, calm = take(loop), take(loop)
    loop.tell(wild, 1, {SCORE: 0.9}, 1.0)
    loop.tell(calm, 1, {SCORE: 0.4}, 1.0)
    assert loop.best is wild
    loop.reject(wild, "val/top1 became nan in epoch 2")
    assert loop.best is calm
    loop.reject(calm, "val/top1 became nan in epoch 2")
    assert loop.best is None
