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
    folder = advice.folder.root / "short" / one.name
    done = _tried(one, trained(advice, one, folder), folder)
    say(
        f"tried: {one.network}, {one.mode} at {one.image_size} px, rate {one.rate:g}, for {epochs} "
        f"epoch{'s' * (epochs > 1)}: {done.short.top1:.1%} in {hours(done.seconds / 3600)}"
    )
    return done


def trained(advice: Advice, choice: Choice, folder: Path) -> Run:
    """The finished run of a choice: gone on with where it was cut off, read where it is done."""
    files = RunFolder(folder)
    if files.run.is_file() and (run := Run.read(files.run)).finished:
        return run
    config = composed(advice, choice.overrides)
    check_training(config)
    return fit(config, folder, resume=True, overrides=[*advice.overrides, *choice.overrides])


def composed(advice: Advice, overrides: Sequence[str]) -> DictConfig:
    return training_part(compose("train", ["look=false", *advice.overrides, *overrides]))


def write_curve(path: AnyPath, tried: Sequence[Tried]) -> None:
    write_table(Path(path), [one.row() for one in tried], CURVE)


def _tried(choice: Choice, run: Run, folder: Path) -> Tried:
    """The last epoch's pace counts: in the first one photos are still packed."""
    epochs = pd.read_csv(RunFolder(folder).metrics)["seconds"].tolist()
    pace = Pace(epochs[-1], max(0.0, run.seconds - sum(epochs)))
    short = Short(choice.epochs, run.metrics["val/top1"], run.split_sizes["val"])
    return Tried(choice, short, run.seconds, pace)
