"""Stage 6: the plan carried out, and its winner judged once, beside the head that cost seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from carsclf.advising.advice import Advice, say
from carsclf.advising.curve import composed, finished, trained
from carsclf.advising.plan import AdvicePlan, Choice
from carsclf.advising.speed import predicting
from carsclf.analysis.comparison import bootstrap_difference, wilson
from carsclf.figures.cost import hours
from carsclf.files import JsonRecord
from carsclf.inference.predict import load_model
from carsclf.inference.split import How, open_run, predict_split, write
from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.checks import check_training
from carsclf.training.prolong import shorten
from carsclf.training.run import fit
from carsclf.training.trainer import device_of

AS_GOOD = ": a frozen head is as good as fine-tuning here"


@dataclass(frozen=True)
class Judged:
    """A model of the advice: where it lies, and how good and how fast it is."""

    network: str
    mode: str
    image_size: int
    folder: str
    """Its run folder, relative to the advice's."""
    epochs: int
    seconds: float
    """Of its training."""
    val: float
    top1: float
    low: float
    high: float
    """On the split that judges, with its 95 % interval."""
    answer_ms: float
    predict_rate: float
    parameters: int
    licence: str | None = None


@dataclass(frozen=True)
class Outcome(JsonRecord):
    """outcome.json: what came of the plan."""

    winner: dict[str, Any]
    """A Judged: of the training and the head, the better on validation."""
    probe: dict[str, Any] | None
    """A Judged: the best head of the probes, trained on what it saw there."""
    training: dict[str, Any]
    """A Judged: what the plan trained, whether it won or not."""
    split: str
    images: int
    difference: list[float] | None
    """Of the training to the head, in [-1, 1], and its 95 % interval; None: they are one."""
    expected: list[float] | None
    """What the plan expected of its training, and between what."""
    held: bool | None
    """Whether that interval holds what was measured."""
    asked_seconds: float
    used_seconds: float
    """Up to here; the page is still to be made."""
    study: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def head_as_good(self) -> bool:
        """Whether the training was measured and not found better than the head."""
        return self.difference is not None and self.difference[1] <= 0


def carry_out(advice: Advice) -> None:
    """Trains what the plan says, then judges; writes outcome.json."""
    plan = AdvicePlan.read(advice.folder.plan)
    chosen, notes = plan.choice, []
    root = advice.folder.root
    head = best_head(plan.choices)
    if plan.search_hours:
        folder = searched(advice, plan)
    else:
        folder = root / "train" / chosen.name
        if chosen.mode == "freeze":
            trained(advice, chosen, folder)
        else:
            notes += in_time(advice, chosen, folder, plan.reserve)
    folders = [folder]
    if head is not None and head.name != chosen.name:
        folders.append(root / "train" / head.name)
        trained(advice, head, folders[1])
    outcome = judge(advice, plan, folders, notes)
    outcome.write(advice.folder.outcome)
    for line in lines(outcome):
        say(line)


def best_head(choices: Sequence[Choice]) -> Choice | None:
    heads = [one for one in choices if one.mode == "freeze"]
    return max(heads, key=lambda one: one.top1 or 0, default=None)


@dataclass
class Watch:
    """Tells after each epoch whether the training still fits, and what would."""

    advice: Advice
    horizon: int
    reserve: float
    spent: float = 0.0
    """Seconds of the epochs of this sitting, of which there were `told`."""
    told: int = 0
    fits: int | None = None
    """A shorter horizon, where it is late."""

    def __call__(self, epoch: int, metrics: dict[str, float], seconds: float, last: Path) -> bool:
        self.spent += seconds
        self.told += 1
        room = self.advice.ledger.left() - self.reserve
        fits = epoch + int(room * self.told / max(self.spent, 1e-9))
        if epoch >= self.horizon or fits >= self.horizon:
            return True
        self.fits = max(epoch, fits)
        return False


def in_time(advice: Advice, choice: Choice, folder: Path, reserve: float) -> list[str]:
    """Trains `choice`, with a shorter schedule from where it is late; what happened, in words.

    A tenth more than what was asked for is still kept to: only what would pass the reserve counts.
    """
    files = RunFolder(folder)
    if finished(folder):
        return shortened(choice, Run.read(files.run))
    config = kept(files) or composed(advice, choice)
    check_training(config)
    told = choice.after(advice.overrides)
    while True:
        horizon = int(config.trainer.max_epochs)
        watch = Watch(advice, horizon, reserve)
        run = fit(config, folder, resume=True, on_epoch=watch, overrides=told)
        told = None
        if run.finished:
            break
        assert watch.fits is not None
        config = shorten(config, watch.fits, files)
        say(f"late: epochs take longer than those tried; {watch.fits} instead of {horizon}")
    return shortened(choice, run)


def shortened(choice: Choice, run: Run) -> list[str]:
    """That a training has fewer epochs than its plan, where it has."""
    if run.horizon >= choice.epochs:
        return []
    return [
        f"Epochs took longer than those that were tried, so the training was shortened from "
        f"{choice.epochs} to {run.horizon} while it ran."
    ]


def kept(files: RunFolder) -> DictConfig | None:
    """What a training that was cut off goes on with: its horizon may be another by now."""
    if not files.config.is_file():
        return None
    config = OmegaConf.load(files.config)
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config, True)
    return config


def study_folder(advice: Advice, plan: AdvicePlan) -> Path:
    """Of a study that begins with the plan's training."""
    return advice.folder.root / f"study-{plan.choice.name}"


def searched(advice: Advice, plan: AdvicePlan) -> Path:
    """The study, new or gone on with; the run folder of its winner."""
    from carsclf.tuning.study.composition import Composition  # Ray takes a while
    from carsclf.tuning.study.conclusion import conclude
    from carsclf.tuning.study.execution import carry_out as run_study
    from carsclf.tuning.study.plan import Plan
    from carsclf.tuning.study.records import StudyFolder, StudySummary

    overrides = [*plan.overrides, f"search.hours={plan.search_hours}"]
    folder = StudyFolder(study_folder(advice, plan))
    study_plan = Plan.of(Composition.of(overrides), folder)
    done = folder.summary.is_file() and StudySummary.read(folder.summary).finished
    if not done:
        conclude(run_study(study_plan, overrides), study_plan, say_what_next=False)
    summary = StudySummary.read(folder.summary)
    finals = [one for one in summary.final if one["trial"] == summary.winner]
    if finals:
        return folder.root / finals[0]["folders"][0]
    import pandas as pd

    trials = pd.read_parquet(folder.trials).set_index("trial")
    return folder.root / str(trials.loc[summary.best_trial, "folder"])


def judge(
    advice: Advice, plan: AdvicePlan, folders: Sequence[Path], notes: Sequence[str]
) -> Outcome:
    """Each model on the split that judges, once; the better on validation is the winner."""
    said = [_said(advice, folder) for folder in folders]
    judged = [_judged(advice, f, s) for f, s in zip(folders, said, strict=True)]
    training, probe = (
        judged[0],
        judged[-1] if len(judged) > 1 or judged[0].mode == "freeze" else None,
    )
    winner = max(judged, key=lambda one: one.val)
    difference = None
    if len(said) > 1:
        gap = bootstrap_difference(said[1].right, said[0].right)
        difference = [gap.value, gap.low, gap.high]
    one, limit = plan.choice, advice.latency_ms
    late = [m for m in judged if limit is not None and m.answer_ms > limit]
    slow = [
        f"{m.network} at {m.image_size} px answers in {m.answer_ms:.3g} ms, and "
        f"latency_ms={limit:g} was asked for: by its time at another size it was to be quicker."
        for m in late
    ]
    expected = None if one.top1 is None else [one.top1, one.low or 0.0, one.high or 1.0]
    return Outcome(
        winner=vars(winner),
        probe=None if probe is None else vars(probe),
        training=vars(training),
        split=_split(advice, folders[0]),
        images=len(said[0].targets),
        difference=difference,
        expected=expected,
        held=None if expected is None else expected[1] <= training.top1 <= expected[2],
        asked_seconds=3600 * advice.hours,
        used_seconds=advice.ledger.spent(),
        study=str(study_folder(advice, plan)) if plan.search_hours else None,
        notes=[*notes, *slow],
    )


def _split(advice: Advice, folder: Path) -> str:
    return "test" if "test" in Run.read(RunFolder(folder).run).split_sizes else "val"


def _said(advice: Advice, folder: Path) -> Predictions:
    """What a model says of the split that judges; where that was asked before, its answer."""
    files, split = RunFolder(folder), _split(advice, folder)
    if not files.predictions(split).is_file():
        device = str(device_of(advice.training))
        how = How(split, workers=advice.training.data.workers, device=device)
        write(predict_split(open_run(folder, how), how), files, split)
    return Predictions.read(files.predictions(split))


def _judged(advice: Advice, folder: Path, said: Predictions) -> Judged:
    files = RunFolder(folder)
    run = Run.read(files.run)
    model = load_model(folder, device=str(device_of(advice.training)))
    size = int(OmegaConf.load(files.config).data.image_size)
    rate, answer = predicting(model.network, size, model.device)
    likely = wilson(int(said.right.sum()), len(said.targets))
    return Judged(
        network=run.model,
        mode=run.mode,
        image_size=size,
        folder=str(folder.relative_to(advice.folder.root)),
        epochs=run.epochs,
        seconds=run.seconds,
        val=run.metrics["val/top1"],
        top1=likely.value,
        low=likely.low,
        high=likely.high,
        answer_ms=answer,
        predict_rate=rate,
        parameters=sum(p.numel() for p in model.network.parameters()),
        licence=run.weights_license,
    )


def lines(outcome: Outcome) -> list[str]:
    """What came of it, as it is printed."""
    best = Judged(**outcome.winner)
    told = [
        f"winner: {best.network}, {best.mode} at {best.image_size} px: {best.top1:.1%} "
        f"[{100 * best.low:.1f} to {100 * best.high:.1f}] of {outcome.images:,} {outcome.split} "
        f"pictures, {best.answer_ms:.3g} ms an answer; {best.folder}"
    ]
    if outcome.difference is not None and outcome.probe is not None:
        gap, low, high = (100 * part for part in outcome.difference)
        told.append(
            f"the best frozen head: {outcome.probe['top1']:.1%}; the training is {gap:+.1f} points "
            f"from it [{low:+.1f} to {high:+.1f}]{AS_GOOD if outcome.head_as_good else ''}"
        )
    used, asked = (hours(s / 3600) for s in (outcome.used_seconds, outcome.asked_seconds))
    return [*told, f"time: {used} of {asked}"]
