"""Several trained runs as one model: their predictions of a split, combined and compared."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from carsclf.analysis.comparison import Interval, bootstrap_difference
from carsclf.analysis.ensembles import (
    agreement,
    align,
    check_shared,
    fit_weights,
    mean,
    vote,
)
from carsclf.analysis.metrics import metrics
from carsclf.data.samples import list_some
from carsclf.data.transforms import EvalTransform
from carsclf.data.views import Views
from carsclf.errors import CheckpointError, ConfigError
from carsclf.inference.soup import make_soup
from carsclf.inference.split import How, open_run, predict_split, write
from carsclf.options.command_line import argument, say_next
from carsclf.records import (
    RANDOM_WEIGHTS,
    Ensemble,
    ModelCard,
    Predictions,
    Run,
    RunFolder,
    refuse_leaked,
)
from carsclf.terminal import terminal

WEIGHED_ON = "val"


@dataclass(frozen=True)
class Combined:
    """What members say of the photos that all of them hold out, and what they say as one."""

    names: list[str]
    members: list[Predictions]
    whole: Predictions
    record: Ensemble

    @property
    def best(self) -> int:
        """Of the members: the one with the most photos right, of equals the first."""
        return int(np.argmax([member.right.sum() for member in self.members]))

    @property
    def gain(self) -> Interval:
        """Accuracy of the whole minus that of its best member, on the same photos."""
        return bootstrap_difference(self.members[self.best].right, self.whole.right)


def combine(
    runs: Sequence[Path], rule: str, how: How, *, folder: Path | None, seed: int
) -> dict[str, float]:
    """Writes what the runs say together into a folder of its own; prints it beside each one."""
    names = short_names(runs)
    folder = folder or default_folder(runs, rule, how.tta if rule != "soup" else None)
    check_folders(folder, runs, how)
    check_cards(runs, names, how)
    record = Ensemble(
        rule,
        [str(run) for run in runs],
        [1 / len(runs)] * len(runs),
        tta=how.tta,
        seed=seed if rule == "vote" else None,
    )
    if rule == "soup":
        make_soup(runs, names, how, folder, record)
    if rule == "weighted":
        weights = fit_weights(align(read_members(runs, names, replace(how, split=WEIGHED_ON))))
        record = replace(record, weights=weights.tolist())
    said = read_members(runs, names, how)
    if rule == "soup":
        *members, whole = align(said | {rule: predict_split(open_run(folder, how), how)})
    else:
        members = align(said)
        whole = vote(members, seed) if rule == "vote" else mean(members, record.weights)
    files = RunFolder(folder)
    values = write(whole, files, how.part)
    record.write(files.ensemble)
    show(Combined(names, members, whole, record), how.part, *left_out(said, whole, how.split))
    print(f"predictions: {files.predictions(how.part)}")
    tell_random(runs)
    compared = [*runs, folder] if rule == "soup" else list(runs)
    say_next(f"python report.py {argument('runs', compared)}")
    return values


def check_folders(folder: Path, runs: Sequence[Path], how: How) -> None:
    """Refuses members of which nothing is there, and to write over a training, or over a member."""
    for run in map(RunFolder, runs):
        if not run.predictions(how.part).is_file() and not run.card.is_file():
            raise CheckpointError(
                f"runs: {run.root} holds neither a model nor predictions of {how.part}: is it a "
                "finished run folder?"
            )
    files = RunFolder(folder)
    training = files.config.is_file() and not files.ensemble.is_file()
    if training or folder.resolve() in [run.resolve() for run in runs]:
        raise ConfigError(
            f"folder={folder} holds a run, which would be written over: choose another"
        )


def check_cards(runs: Sequence[Path], names: Sequence[str], how: How) -> None:
    """Refuses, before anything is predicted, members that say nothing together.

    Those of which only predictions are there are looked at as they are read.
    """
    there = [(n, RunFolder(run)) for n, run in zip(names, runs, strict=True)]
    cards = {name: ModelCard.read(files.card) for name, files in there if files.card.is_file()}
    for name, card in cards.items():
        refuse_leaked(card.leak, f"runs: {name}")
        if how.tta is not None:
            Views(EvalTransform(**card.eval_transform), how.tta)
    shared: set[str] = set().union(*(card.class_names for card in cards.values()))
    for name, card in cards.items():
        shared &= {*card.class_names}
        check_shared(name, shared)


def read_members(runs: Sequence[Path], names: Sequence[str], how: How) -> dict[str, Predictions]:
    """Each run's predictions by its name: those that were kept, else made and kept now."""
    said = {}
    for run, name in zip(runs, names, strict=True):
        files = RunFolder(run)
        if not files.predictions(how.part).is_file():
            print(f"{name}: predicting {how.part}")
            write(predict_split(open_run(run, how), how), files, how.part)
        said[name] = Predictions.read(files.predictions(how.part))
        refuse_leaked(said[name].leak, f"runs: {name}")
    return said


def short_names(runs: Sequence[Path]) -> list[str]:
    """The folders' own names, or, where two are called the same, their paths."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def default_folder(runs: Sequence[Path], rule: str, tta: str | None) -> Path:
    """One place for one set of members, rule and views, whichever split is predicted."""
    members = sorted(str(run.resolve()) for run in runs)
    digest = hashlib.blake2b(repr((members, tta)).encode(), digest_size=4).hexdigest()
    return Path("runs/ensembles") / f"{rule}-of-{len(runs)}-{digest}"


def show(found: Combined, part: str, *more: str) -> None:
    """A row for each member and the whole, how far members agree, and what the whole is worth."""
    record, count = found.record, len(found.whole.ids)
    table = Table(title=f"{record.rule} of {len(found.names)}: {part}, {count} photos")
    for column in ("", "weight", "agrees", "top-1", "top-5", "macro F1", "loss"):
        table.add_column(column, justify="right" if column else "left")
    same = agreement(found.members)
    others = (same.sum(axis=1) - 1) / (len(same) - 1)
    for i, (name, member) in enumerate(zip(found.names, found.members, strict=True)):
        told = f"{record.weights[i]:.3f}", f"{others[i]:.1%}"
        table.add_row(Text(name), *told, *figures(member))
    table.add_section()
    table.add_row(record.rule, "", "", *figures(found.whole, shares=record.rule != "vote"))
    console = terminal(soft_wrap=True)
    console.print(table)
    for line in (agreement_in_words(found.names, same), verdict(found), *more):
        console.print(line)


def figures(said: Predictions, *, shares: bool = True) -> list[str]:
    """A row's metrics as text; votes do not rank the classes without one, and have no loss."""
    values = metrics(said.targets, said.probabilities)
    one, five, macro = (f"{values[name]:.2%}" for name in ("top1", "top5", "macro_f1"))
    loss = f"{values['loss']:.3f}"
    return [one, five, macro, loss] if shares else [one, "-", macro, "-"]


def agreement_in_words(names: Sequence[str], same: np.ndarray) -> str:
    """The share of equal answers: of all pairs, and of the two that differ the most and least."""
    pairs = list(combinations(range(len(names)), 2))
    shares = [float(same[pair]) for pair in pairs]
    told = f"members agree on {np.mean(shares):.1%} of the photos in the mean of their pairs"
    if len(pairs) > 1:
        ends = ("least", int(np.argmin(shares))), ("most", int(np.argmax(shares)))
        told += "; " + ", ".join(
            f"{word} {names[pairs[at][0]]} and {names[pairs[at][1]]} ({shares[at]:.1%})"
            for word, at in ends
        )
    return told


def verdict(found: Combined) -> str:
    """How far the whole is ahead of its best member, and whether that could be chance."""
    gain, best = found.gain, found.names[found.best]
    word = (
        "better than" if gain.low > 0 else "worse than" if gain.high < 0 else "not told apart from"
    )
    value, low, high = (f"{100 * end + 0.0:+.2f}" for end in (gain.value, gain.low, gain.high))
    return (
        f"the {found.record.rule} is {word} its best member, {best}: {value} points [{low} to "
        f"{high}, 95 %, the photos redrawn]; {best} was found the best on these photos, which "
        "flatters it"
    )


def left_out(said: Mapping[str, Predictions], whole: Predictions, split: str) -> list[str]:
    """Lines about photos and classes that not all members have."""
    lines = []
    classes = list(dict.fromkeys(c for member in said.values() for c in member.class_names))
    if rest := [name for name in classes if name not in set(whole.class_names)]:
        lines.append(
            f"left out: {len(rest)} of {len(classes)} classes, which not all members know: "
            f"{list_some(rest, 4)}; accuracies are those among the others"
        )
    most = max(len(set(member.ids)) for member in said.values())
    if most > len(whole.ids):
        lines.append(
            f"judged on {len(whole.ids)} of up to {most} photos: those that all members have in "
            f"{split}; data.split_seed=0 in each training gives them one split"
        )
    return lines


def tell_random(runs: Sequence[Path]) -> None:
    """Marks members that were trained from random weights."""
    known = [RunFolder(run).run for run in runs]
    if any(path.is_file() and Run.read(path).weights == "random" for path in known):
        print(RANDOM_WEIGHTS)
