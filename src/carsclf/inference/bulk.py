"""`predict.py`: what a trained model says of one new picture, or of thousands."""

import csv
import glob
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa
from omegaconf import DictConfig, ListConfig
from rich.table import Table
from rich.text import Text

from carsclf.data.samples import list_some
from carsclf.errors import CarsclfError, CheckpointError, ConfigError, DataError
from carsclf.files import atomic_write
from carsclf.inference.bank import find_openness, make_openness, model_key
from carsclf.inference.openness import Openness
from carsclf.inference.pace import Pace
from carsclf.inference.parts import Parts
from carsclf.inference.pictures import Pictures
from carsclf.inference.predict import Said, TrainedModel, load_model
from carsclf.inference.rows import Columns, printable
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import PREDICT
from carsclf.records import RunFolder
from carsclf.terminal import terminal

SHOWN = 10  # pictures on the screen, where there are more
ROWS = 1024  # of a part, about: what a kill loses at most

Ranked = list[tuple[str, float]]  # classes and their probabilities, best first


@dataclass
class Outcome:
    """What came of the pictures; only the first few predictions are kept."""

    first: list[tuple[str, Ranked]] = field(default_factory=list)  # by path
    predicted: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # path, why

    def add(self, rows: pa.Table, columns: Columns) -> None:
        errors, paths = rows["error"].to_pylist(), rows["path"].to_pylist()
        self.unreadable += [(p, e) for p, e in zip(paths, errors, strict=True) if e is not None]
        self.predicted += rows["error"].null_count
        if len(self.first) < SHOWN:
            for row in rows.to_pylist():
                if row["error"] is None and len(self.first) < SHOWN:
                    ranked = [(row[said], row[share]) for said, share in columns.ranks]
                    self.first.append((row["path"], ranked))


def predict_pictures(config: DictConfig) -> Path:
    """Predicts `images` into a CSV and a parquet table, shows the first; returns the CSV's path.

    With `filter`, the rows of such a table that it chooses instead.
    """
    config = checked(config, PREDICT)
    if config.filter is not None:
        from carsclf.inference.filtering import filter_table  # pandas takes a while

        return filter_table(config, table=_table(config))
    if config.images is None:
        raise ConfigError(
            "images has no value: give it as images=..., or filter=... of a table that was written"
        )
    pictures = Pictures(_given(config))
    total = pictures.count()
    model = load_model(str(config.run), device=config.device)
    path = _place(config)
    columns = Columns(model, config.top, _openness(config, model))
    replaced = path.is_file()
    outcome, pace = _predict(config, pictures, total, columns, path)
    _show(outcome, config.top)
    if total > 1:
        print(f"{outcome.predicted} pictures in {pace.seconds:.1f} s, {pace.rate:.0f} a second")
    _tell_left_out(outcome, pictures, path)
    print(f"predictions: {printable(path)}" + (" (an earlier one was replaced)" * replaced))
    print(f"with embeddings: {printable(path.with_suffix('.parquet'))}")
    if columns.openness is None and config.openness == "auto":
        print("openness: not measured for this run; openness=true measures it, once")
    say_next(f"python report.py {argument('runs', [str(config.run)])}")
    return path


def _predict(
    config: DictConfig, pictures: Pictures, total: int, columns: Columns, path: Path
) -> tuple[Outcome, Pace]:
    """All parts, then the files. Raises DataError where no picture can be read."""
    size = config.batch_size * -(-ROWS // config.batch_size)
    parts = Parts(
        path.with_name(f"{path.name}.parts"),
        {
            "run": model_key(columns.model),
            "classes": columns.model.card.parts or columns.model.card.class_names,
            "images": [os.path.abspath(Path(name).expanduser()) for name in pictures.given],
            "top": config.top,
            "batch_size": config.batch_size,
            "openness": columns.openness and columns.openness.digest,
            "device": columns.model.device.type,
            "rows": size,
        },
    )
    outcome, pace = Outcome(), Pace(total, "pictures")
    try:
        with parts.opened():
            count = write_parts(columns, pictures, parts, size, config.batch_size, pace)
            for rows in parts.read(count, ["path", "error", *sum(columns.ranks, ())]):
                outcome.add(rows, columns)
            if not outcome.predicted:
                shutil.rmtree(parts.folder)  # it says nothing
                raise _nothing(outcome)
            parts.finish(count, path.with_suffix(".parquet"), path, columns.schema)
    except KeyboardInterrupt:
        raise CarsclfError(
            f"interrupted after {pace.done} of {total} pictures: the same command goes on from "
            f"the last whole part in {parts.folder}"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"could not write {path}: {error.strerror or error}; give another place with csv=<file>"
        ) from None
    _write_unreadable(outcome, path)
    return outcome, pace


def write_parts(
    columns: Columns, pictures: Pictures, parts: Parts, size: int, batch_size: int, pace: Pace
) -> int:
    """Writes those parts of `size` pictures that are not done yet; returns how many there are.

    Decoding runs on over the ends of parts.
    """
    ahead = deque[tuple[int, list[Path], bool]]()  # part, its batch, whether it is the last
    count = 0

    def batches() -> Iterator[list[Path]]:
        nonlocal count
        rest = iter(pictures)
        for number, files in enumerate(iter(lambda: list(islice(rest, size)), [])):
            count = number + 1
            if parts.has(number, files):
                pace.pass_over(len(files))
                continue
            own = [files[i : i + batch_size] for i in range(0, len(files), batch_size)]
            for i, batch in enumerate(own):
                ahead.append((number, batch, i == len(own) - 1))
                yield batch

    files: list[Path] = []
    said: list[Said] = []
    with pace.shown():
        for each in columns.model.look(batches()):
            number, batch, last = ahead.popleft()
            files += batch
            said.append(each)
            pace.step(len(batch))
            if last:
                parts.write(number, files, columns.table(files, said))
                files, said = [], []
    return count


def _openness(config: DictConfig, model: TrainedModel) -> Openness | None:
    if config.openness is False:
        return None
    folder = Path(str(config.run)).expanduser()
    found = find_openness(folder, model)
    if found is None and config.openness is True:
        found = make_openness(folder, model, root=config.root, batch_size=config.batch_size)
    return found


def _given(config: DictConfig) -> list[str]:
    several = isinstance(config.images, ListConfig)
    return [str(name) for name in (config.images if several else [config.images])]


def _place(config: DictConfig) -> Path:
    """Where the CSV goes: `csv`, or below the run folder, named after the pictures."""
    if config.csv is not None:
        path = Path(str(config.csv)).expanduser()
        if path.is_dir():
            raise ConfigError(f"csv={path} is a folder: name a file, csv={path / 'pictures.csv'}")
        if path.suffix == ".parquet":
            raise ConfigError(f"csv={path}: the table goes beside it; csv={path.with_suffix('')}")
        return path
    given = _given(config)
    place = Path(os.path.abspath(given[0]))
    one = (place.name if place.is_dir() else place.stem) if len(given) == 1 else ""
    name = one if one and not glob.has_magic(one) else "pictures"
    return RunFolder(str(config.run)).root / "predictions" / "pictures" / f"{name}.csv"


def _table(config: DictConfig) -> Path:
    """The table that a filter reads: `table`, or the one that the same images were written to."""
    if config.table is not None:
        return Path(str(config.table)).expanduser()
    if config.images is None and config.csv is None:
        raise ConfigError(
            f"filter={config.filter} needs the table that predict.py run=... images=... wrote: "
            "give it as table=<file>.parquet"
        )
    return _place(config).with_suffix(".parquet")


def _nothing(outcome: Outcome) -> DataError:
    paths, reasons = zip(*outcome.unreadable, strict=True)
    if len(paths) == 1:
        return DataError(reasons[0])
    names = [Path(path).name for path in paths]
    return DataError(f"none of the {len(paths)} files is a readable picture: {list_some(names)}")


def _write_unreadable(outcome: Outcome, path: Path) -> None:
    """Beside the CSV, those that cannot be read, with reasons; nothing where there are none."""
    place = _unreadable(path)
    if not outcome.unreadable:
        place.unlink(missing_ok=True)
        return
    with atomic_write(place) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("path", "error"), *outcome.unreadable])


def _unreadable(path: Path) -> Path:
    return path.with_name(f"{path.stem}_unreadable.csv")


def _show(outcome: Outcome, top: int) -> None:
    """One picture: its classes, a row each. Several: a row each, the classes side by side."""
    # a log has no width of its own: rich would fold the table to 80 columns
    width = None if sys.stdout.isatty() else 160
    console = terminal(width=width)
    one = outcome.predicted == 1
    path, ranked = outcome.first[0]
    table = Table(title=Text(path if one else "pictures"), title_justify="left")
    for column in ("class", "probability") if one else ("picture", "class", "probability", "then"):
        table.add_column(column, justify="right" if column == "probability" else "left")
    if one:
        for name, share in ranked:
            table.add_row(Text(name), f"{share:.1%}")
    else:
        for path, ((first, share), *others) in outcome.first:
            rest = ", ".join(f"{name} {share:.1%}" for name, share in others)
            shown = Text(str(Path(*Path(path).parts[-2:])))
            table.add_row(shown, Text(first), f"{share:.1%}", Text(rest))
    console.print(table)
    if outcome.predicted > SHOWN:
        print(f"the first {SHOWN} of {outcome.predicted}")


def _tell_left_out(outcome: Outcome, pictures: Pictures, path: Path) -> None:
    for _, error in outcome.unreadable[:SHOWN]:
        print(f"left out: {error}", file=sys.stderr)
    if (more := len(outcome.unreadable) - SHOWN) > 0:
        where = _unreadable(path)
        print(f"left out: {more} more that cannot be read, named in {where}", file=sys.stderr)
    for reason, names in pictures.left_out.items():
        print(f"left out: {len(names)} {reason}: {list_some(names, 3)}", file=sys.stderr)
