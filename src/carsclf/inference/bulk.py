"""`predict.py`: what a trained model says of one new picture, or of thousands."""

import csv
import glob
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, ListConfig
from rich.progress import track
from rich.table import Table
from rich.text import Text

from carsclf.data.listing import list_pictures
from carsclf.data.samples import list_some
from carsclf.errors import CarsclfError, CheckpointError, ConfigError, DataError
from carsclf.inference.predict import Prediction, TrainedModel, load_model
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import PREDICT
from carsclf.records import RunFolder
from carsclf.terminal import terminal

WriteRow = Callable[[Iterable[object]], object]
SHOWN = 10  # pictures on the screen, where there are more


@dataclass
class Outcome:
    """What came of the pictures; only the first few predictions are kept."""

    first: list[tuple[Path, Prediction]] = field(default_factory=list)
    done: int = 0
    predicted: int = 0
    unreadable: list[DataError] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)  # why -> what is no picture


def predict_pictures(config: DictConfig) -> Path:
    """Predicts `images`, writes them as CSV row by row, shows the first; returns the CSV's path."""
    config = checked(config, PREDICT)
    given = list(config.images) if isinstance(config.images, ListConfig) else [config.images]
    outcome = Outcome()
    files = [file for name in given for file in find_files(str(name), outcome)]
    model = load_model(str(config.run), device=config.device)
    path = _place(config, given)
    began, replaced = time.perf_counter(), path.is_file()
    with _rows(path, min(config.top, len(model.card.class_names))) as write:
        try:
            write_predictions(model, files, write, outcome, config.batch_size, config.top)
        except KeyboardInterrupt:
            raise CarsclfError(
                f"interrupted after {outcome.done} of {len(files)} files: their rows are in "
                f"{_partial(path)}"
            ) from None
    _show(outcome, config.top)
    if len(files) > 1:
        seconds = time.perf_counter() - began
        rate = outcome.predicted / seconds
        print(f"{outcome.predicted} pictures in {seconds:.1f} s, {rate:.0f} a second")
    _tell_left_out(outcome)
    print(f"predictions: {printable(path)}" + (" (an earlier one was replaced)" * replaced))
    say_next(f"python report.py {argument('runs', [str(config.run)])}")
    return path


def find_files(name: str, outcome: Outcome) -> list[Path]:
    """A file, the pictures below a folder, or what matches a pattern; absolute and sorted.

    What else lies in a folder is noted in the outcome. Raises DataError where there are none.
    """
    path = Path(os.path.abspath(Path(name).expanduser()))
    if path.is_dir():
        listing = list_pictures(path)
        found = [path.joinpath(*parts) for parts in listing.pictures]
        outcome.left_out |= listing.left_out
    elif path.exists():
        found = [path]
    else:
        found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        what = "holds no pictures" if path.is_dir() else "is not there"
        raise DataError(f"images={name} {what}: expected a picture or a folder of pictures")
    return found


def write_predictions(
    model: TrainedModel,
    files: Sequence[Path],
    write: WriteRow,
    outcome: Outcome,
    batch_size: int,
    top: int,
) -> None:
    """A row for each picture, written as it comes. Raises DataError where none can be read."""
    bar = terminal(stderr=True)
    watched = track(files, "pictures", console=bar, transient=True, disable=not bar.is_terminal)
    stream = model.stream(files, batch_size=batch_size)
    for path, found in zip(watched, stream, strict=True):
        outcome.done += 1
        if isinstance(found, Prediction):
            ranked = [value for pair in found.top(top) for value in pair]
            write([printable(path), "", *ranked])
            outcome.predicted += 1
            if outcome.predicted <= SHOWN:
                outcome.first.append((path, found))
        else:
            write([printable(path), str(found)])
            outcome.unreadable.append(found)
    if not outcome.predicted:
        if len(outcome.unreadable) == 1:
            raise outcome.unreadable[0]
        names = [path.name for path in files]
        raise DataError(f"none of the {len(files)} files is a readable picture: {list_some(names)}")


def printable(path: Path) -> str:
    """A path as text, whatever bytes its name is made of."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _place(config: DictConfig, given: list[str]) -> Path:
    """Where the CSV goes: `csv`, or below the run folder, named after the pictures."""
    if config.csv is not None:
        path = Path(str(config.csv)).expanduser()
        if path.is_dir():
            raise ConfigError(f"csv={path} is a folder: name a file, csv={path / 'pictures.csv'}")
        return path
    one = Path(os.path.abspath(str(given[0]))).stem if len(given) == 1 else ""
    name = one if one and not glob.has_magic(one) else "pictures"
    return RunFolder(str(config.run)).root / "predictions" / "pictures" / f"{name}.csv"


@contextmanager
def _rows(path: Path, top: int) -> Iterator[WriteRow]:
    """Writes `path`.partial, which becomes `path` when all went well; after Ctrl-C it is kept."""
    partial = _partial(path)
    ranks = ("predicted", *(f"predicted_{i}" for i in range(2, top + 1)))
    shares = ("probability", *(f"probability_{i}" for i in range(2, top + 1)))
    header = ["path", "error", *(name for pair in zip(ranks, shares, strict=True) for name in pair)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            yield writer.writerow
        partial.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"could not write {path}: {error.strerror or error}; give another place with csv=<file>"
        ) from None
    except (DataError, CheckpointError):
        partial.unlink(missing_ok=True)  # it says nothing
        raise


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _show(outcome: Outcome, top: int) -> None:
    """One picture: its classes, a row each. Several: a row each, the classes side by side."""
    # a log has no width of its own: rich would fold the table to 80 columns
    width = None if sys.stdout.isatty() else 160
    console = terminal(width=width)
    one = outcome.predicted == 1
    path, prediction = outcome.first[0]
    table = Table(title=Text(printable(path) if one else "pictures"), title_justify="left")
    for column in ("class", "probability") if one else ("picture", "class", "probability", "then"):
        table.add_column(column, justify="right" if column == "probability" else "left")
    if one:
        for name, share in prediction.top(top):
            table.add_row(Text(name), f"{share:.1%}")
    else:
        for path, prediction in outcome.first:
            rest = ", ".join(f"{name} {share:.1%}" for name, share in prediction.top(top)[1:])
            share = f"{prediction.probability:.1%}"
            shown = Text(printable(Path(path.parent.name, path.name)))
            table.add_row(shown, Text(prediction.predicted), share, Text(rest))
    console.print(table)
    if outcome.predicted > SHOWN:
        print(f"the first {SHOWN} of {outcome.predicted}")


def _tell_left_out(outcome: Outcome) -> None:
    for error in outcome.unreadable[:SHOWN]:
        print(f"left out: {error}", file=sys.stderr)
    if (more := len(outcome.unreadable) - SHOWN) > 0:
        print(f"left out: {more} more that cannot be read, named in the CSV", file=sys.stderr)
    for reason, names in outcome.left_out.items():
        print(f"left out: {len(names)} {reason}: {list_some(names, 3)}", file=sys.stderr)
