"""Short complete fine-tunings: the few epochs on which a forecast and its times rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from hydra import compose
from omegaconf import DictConfig

from carsclf.advising.advice import Advice, say, write_table
from carsclf.advising.plan import Choice
from carsclf.advising.times import Pace
from carsclf.analysis.forecast import Short
from carsclf.figures.cost import hours
from carsclf.files import AnyPath
from carsclf.records import Run, RunFolder
from carsclf.training.checks import check_training
from carsclf.training.configuration import training_part
from carsclf.training.run import fit

CURVE = (
    *("network", "mode", "image_size", "rate", "epochs", "top1", "images"),
    *("seconds", "pace", "beside"),
)
"""Columns of curve.csv, a row a complete short training: `optimizer.lr`, top-1 on validation,
seconds of all, of its last epoch, and of what was no epoch."""


@dataclass(frozen=True)
class Tried:
    """A short training: what it came to, and what it took."""

    choice: Choice
    short: Short
    seconds: float
    pace: Pace

    def row(self) -> dict[str, object]:
        one = self.choice
        return {
            "network": one.network,
            "mode": one.mode,
            "image_size": one.image_size,
            "rate": one.rate,
            "epochs": one.epochs,
            "top1": self.short.top1,
            "images": self.short.images,
            "seconds": round(self.seconds, 1),
            "pace": round(self.pace.epoch, 2),
            "beside": round(self.pace.beside, 2),
        }


def try_shortly(advice: Advice, choice: Choice, epochs: int) -> Tried:
    """Trains `choice` once for so many epochs, to the end of a schedule of that length."""
    one = replace(choice, epochs=epochs)
    folder = short_folder(advice, one)
    done = _tried(one, trained(advice, one, folder), folder)
    say(
        f"tried: {one.network}, {one.mode} at {one.image_size} px, rate {one.rate:g}, for {epochs} "
        f"epoch{'s' * (epochs > 1)}: {done.short.top1:.1%} in {hours(done.seconds / 3600)}"
    )
    return done


def trained(advice: Advice, choice: Choice, folder: Path) -> Run:
    """The finished run of a choice: gone on with where it was cut off, read where it is done."""
    if finished(folder):
        return Run.read(RunFolder(folder).run)
    config = composed(advice, choice)
    check_training(config)
    return fit(config, folder, resume=True, overrides=choice.after(advice.overrides))


def finished(folder: Path) -> bool:
    """Whether a run ended there."""
    files = RunFolder(folder)
    return files.run.is_file() and Run.read(files.run).finished


def short_folder(advice: Advice, choice: Choice) -> Path:
    return advice.folder.root / "short" / choice.name


def composed(advice: Advice, choice: Choice) -> DictConfig:
    return training_part(compose("train", ["look=false", *choice.after(advice.overrides)]))


def pace_of(tried: Sequence[Tried]) -> Pace:
    """What a further training takes, by those of one choice at several rates and lengths.

    Keeping views, packing photos and settling a precision is done by the first, and found again
    afterwards: where it is the only one, what keeping was planned to take is left out.
    """
    first, *others = tried
    beside = [max(0.0, first.pace.beside - first.choice.measured.beside)]
    return Pace(tried[-1].pace.epoch, min(beside + [one.pace.beside for one in others]))


def write_curve(path: AnyPath, tried: Sequence[Tried]) -> None:
    write_table(Path(path), [one.row() for one in tried], CURVE)


def _tried(choice: Choice, run: Run, folder: Path) -> Tried:
    """The last epoch's pace counts: in the first one photos are still packed."""
    epochs = pd.read_csv(RunFolder(folder).metrics)["seconds"].tolist()
    pace = Pace(epochs[-1], max(0.0, run.seconds - sum(epochs)))
    short = Short(choice.epochs, run.metrics["val/top1"], run.split_sizes["val"])
    return Tried(choice, short, run.seconds, pace)
