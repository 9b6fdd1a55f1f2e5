"""A plan carried out: judged once, resumed, shortened where it is late."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from carsclf.advising import carry_out as stage
from carsclf.advising import curve
from carsclf.advising.carry_out import Outcome, Watch, carry_out, in_time
from carsclf.advising.choose import choose
from carsclf.advising.plan import AdvicePlan
from carsclf.analysis.comparison import wilson
from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.schedules import one_cycle
from tests.advising.conftest import candidate, head

TUNED = {"mode": "finetune", "image_size": 32, "epochs": 3}


@pytest.fixture
def quick(monkeypatch):
    """Speeds are not measured: a second each."""
    monkeypatch.setattr(stage, "predicting", lambda *_: (100.0, 10.0))


def planned(advice_of, **asked):
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], **asked)
    choose(advice)
    return advice


def test_both_models_are_judged_on_test(advice_of, quick):
    advice = planned(advice_of, **TUNED)
    carry_out(advice)
    outcome = Outcome.read(advice.folder.outcome)
    assert (outcome.split, outcome.images) == ("test", 12)
    assert outcome.training["mode"] == "finetune"
    assert outcome.probe is not None
    assert outcome.probe["mode"] == "freeze"
    said = Predictions.read(
        RunFolder(advice.folder.root / outcome.training["folder"]).predictions("test")
    )
    right = sum(a == b for a, b in zip(said.predicted, said.targets, strict=True))
    likely = wilson(right, 12)
    assert outcome.training["top1"] == right / 12
    assert (outcome.training["low"], outcome.training["high"]) == (likely.low, likely.high)
    assert outcome.winner["val"] == max(outcome.training["val"], outcome.probe["val"])
    assert outcome.expected is not None
    assert outcome.held == (outcome.expected[1] <= right / 12 <= outcome.expected[2])
    assert 0 < outcome.used_seconds < outcome.asked_seconds == 3600


def test_a_kill_in_the_training_changes_nothing(advice_of, quick, monkeypatch, tmp_path):
    advice = planned(advice_of, **TUNED)
    carry_out(advice)
    folder = advice.folder.root / "train" / AdvicePlan.read(advice.folder.plan).choice.name
    whole = (folder / "model.safetensors").read_bytes()
    before = json.loads(advice.folder.outcome.read_text())

    advice.folder.root.rename(tmp_path / "undisturbed")
    advice = planned(advice_of, **TUNED)
    real = Watch.__call__

    def killed(self, epoch, *rest):
        real(self, epoch, *rest)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "__call__", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        carry_out(advice)
    monkeypatch.setattr(Watch, "__call__", real)
    seen = []

    def noted(self, epoch, *rest):
        seen.append(epoch)
        return real(self, epoch, *rest)

    monkeypatch.setattr(Watch, "__call__", noted)
    carry_out(advice)
    assert seen == [3]  # what was finished is not trained again
    assert (folder / "model.safetensors").read_bytes() == whole
    after = json.loads(advice.folder.outcome.read_text())
    for model in ("winner", "training", "probe"):
        for key in ("top1", "low", "high", "val", "epochs"):
            assert after[model][key] == before[model][key]


def test_finished_work_is_not_done_again(advice_of, quick, monkeypatch):
    advice = planned(advice_of, **TUNED)
    carry_out(advice)
    for module in (stage, curve):
        monkeypatch.setattr(module, "fit", None)
    monkeypatch.setattr(stage, "predict_split", None)
    advice.folder.outcome.unlink()
    choose(advice)
    carry_out(advice)
    assert advice.folder.outcome.is_file()


def test_a_head_stands_beside_a_training_with_tricks(advice_of, quick):
    """It is trained as it was probed: on plain pictures, to the end, with all gradients."""
    tricks = ["mixing=mixup", "averaging=ema", "augmentation=trivial", "data.sampling=balanced",
              "trainer.gradient_clip_val=1"]  # fmt: skip
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], **TUNED)
    own = [one for one in advice.overrides if not one.startswith("augmentation")]
    advice = replace(advice, overrides=[*own, *tricks])
    choose(advice)
    carry_out(advice)
    outcome = Outcome.read(advice.folder.outcome)
    assert (outcome.training["mode"], outcome.probe and outcome.probe["mode"]) == (
        "finetune", "freeze",
    )  # fmt: skip
    told = (advice.folder.root / outcome.training["folder"] / "overrides.yaml").read_text()
    assert all(trick in told for trick in tricks)


def test_a_model_that_answers_too_slowly_is_noted(advice_of, quick):
    """4 ms were measured before, and 10 in the end."""
    advice = planned(advice_of, latency_ms=5, **TUNED)
    carry_out(advice)
    training, probe = Outcome.read(advice.folder.outcome).notes
    assert training.startswith("test_resnet at 32 px answers in 10 ms, and latency_ms=5 was asked")
    assert probe == training


def test_a_head_alone_is_the_winner_and_the_probe(advice_of, quick):
    advice = planned(advice_of, mode="freeze")
    carry_out(advice)
    outcome = Outcome.read(advice.folder.outcome)
    assert outcome.winner == outcome.probe == outcome.training
    assert outcome.difference is None


def watch(advice, epochs: int, left: float) -> Watch:
    clock = type("Clock", (), {"left": lambda self: left})()
    return Watch(replace(advice, ledger=clock), epochs, reserve=20.0)


def test_a_training_that_is_late_is_shortened_to_what_fits(advice_of):
    """Epochs take 20 s; 80 s are left, 20 kept: 3 more of them fit after the second."""
    late = watch(advice_of([], []), 10, left=80.0)
    assert late(1, {}, 20.0, Path()) is False
    assert late(2, {}, 20.0, Path()) is False
    assert late.fits == 5


def test_a_training_in_time_goes_on(advice_of):
    assert watch(advice_of([], []), 10, left=111.0)(1, {}, 10.0, Path()) is True


def cut_after_two(advice_of, monkeypatch, fits: int) -> tuple[Path, list[str]]:
    """A training of 6 epochs, told after the second that so many fit: its folder, and the notes.

    They are those that are told once more where it is found finished.
    """
    advice = planned(advice_of, **(TUNED | {"epochs": 6}))
    choice = AdvicePlan.read(advice.folder.plan).choice
    folder = advice.folder.root / "train" / choice.name

    def late(self, epoch, metrics, seconds, last):
        self.fits = fits
        return not (epoch == 2 and self.horizon == 6)

    monkeypatch.setattr(Watch, "__call__", late)
    notes = in_time(advice, choice, folder, 0.0)
    assert in_time(advice, choice, folder, 0.0) == notes
    return folder, notes


def test_a_shortened_training_ends_as_any(advice_of, monkeypatch):
    """Fewer epochs from the second on: it ends finished, exported, and repeatable as it was."""
    folder, (note,) = cut_after_two(advice_of, monkeypatch, fits=4)
    assert "from 6 to 4" in note
    run = Run.read(folder / "run.json")
    assert (run.epochs, run.horizon, run.finished) == (4, 4, True)
    table = pd.read_csv(folder / "metrics.csv")
    assert table["epoch"].tolist() == [1, 2, 3, 4]
    assert "trainer.max_epochs=4" in (folder / "overrides.yaml").read_text()


def test_a_training_without_time_for_more_ends_with_what_there_is(advice_of, monkeypatch):
    folder, _ = cut_after_two(advice_of, monkeypatch, fits=2)
    assert Run.read(folder / "run.json").epochs == 2
    assert (folder / "model.safetensors").is_file()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_a_shortened_one_cycle_falls_to_its_end():
    """After 2 of 6 epochs of 5 steps it goes on as one of 4, and its last rate is that one's."""
    long, short, whole = (
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(3)
    )
    before = one_cycle(long, 6, 5, warmup_share=0.3, momentum=False)
    for _ in range(10):
        before.after_step()
    after = one_cycle(short, 4, 5, warmup_share=0.3, momentum=False)
    after.load_state_dict(before.state_dict())
    for _ in range(10):
        after.after_step()
    undisturbed = one_cycle(whole, 4, 5, warmup_share=0.3, momentum=False)
    for _ in range(20):
        undisturbed.after_step()
    assert short.param_groups[0]["lr"] == whole.param_groups[0]["lr"] < 1e-4
