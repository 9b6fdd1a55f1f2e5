"""Photos listed in a CSV or parquet file: path, class and, where there are, split and box."""

import csv
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from carsclf.data.samples import (
    Sample,
    Source,
    absolute,
    check_classes,
    check_names,
    data_root,
    list_some,
    split_of,
)
from carsclf.errors import ConfigError, DataError
from carsclf.files import check_columns, separator_of

if TYPE_CHECKING:
    import pandas as pd

Box = tuple[int, int, int, int]
BOX = ("left", "top", "right", "bottom")


def table(
    root: str | Path | None, table: str | Path, columns: Mapping[str, Any] | None = None
) -> Source:
    """A photo per row. Paths are relative to `root` (None: the table's folder), or absolute.

    columns: what path, class, split and box (four: left, top, right, bottom in pixels, the last two
    excluded) are called in the table; further columns are kept in `Source.noted`. Class names are
    text, as they are written. Raises DataError for whatever has no one reading.
    """
    file = absolute(table) if root is None else absolute(root) / os.path.expanduser(str(table))
    base = data_root(file.parent if root is None else root, "a folder that data.table lies in")
    rows = _read(file)
    there = [str(name) for name in rows.columns]
    rows.columns = there
    names = _columns(file, there, columns or {})
    if not len(rows):
        raise DataError(f"{file} has no rows")
    paths, classes = _texts(rows, names.path, file), _texts(rows, names.label, file)
    ids = [_id(path, base) for path in paths]
    check_names(ids)
    _check_once(file, ids, classes)
    if absent := [id for id in ids if not (base / id).is_file() and not (base / id).is_symlink()]:
        raise DataError(
            f"{len(absent)} of {len(ids)} photos of {file} are absent below {base}: "
            f"{list_some(absent, 3)}; paths are relative to data.root"
        )
    given = _splits(rows, names.split, file) if names.split else [None] * len(ids)
    boxes = _boxes(rows, names.box, file) if names.box else [None] * len(ids)
    class_names = sorted(set(classes))
    index = {name: i for i, name in enumerate(class_names)}
    samples = [
        Sample(id, base / id, index[name], split, box)
        for id, name, split, box in zip(ids, classes, given, boxes, strict=True)
    ]
    check_classes(base, class_names, samples)
    official = None if {"val", "test"} & set(given) else "needs a column that names val or test"
    taken = {names.path, names.label, names.split, *(names.box or ())}
    further = [name for name in there if name not in taken]
    noted = rows[further].assign(id=ids) if further else None  # a column id tells no cause
    return Source("table", base, class_names, samples, {"official": official}, noted=noted)


def _read(file: Path) -> "pd.DataFrame":
    """Text stays as written; what a cell means is decided by the column."""
    import pandas as pd

    if not file.is_file():
        raise DataError(f"data.table={file} is missing: it is relative to data.root, or absolute")
    kind = file.suffix.lower()
    if kind not in (".csv", ".tsv", ".txt", ".parquet"):
        raise DataError(f"data.table={file}: expected a .csv, .tsv or .parquet file")
    try:
        if kind == ".parquet":
            return pd.read_parquet(file).reset_index(drop=True)
        with file.open(encoding="utf-8-sig") as lines:  # as spreadsheets write it
            head = lines.readline()
        separator = separator_of(head)
        names = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
        check_columns([name.strip() for name in names], str(file))
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of cells without a column
            return pd.read_csv(
                file,
                sep=separator,
                dtype=str,
                keep_default_na=False,  # NA may be a class
                skipinitialspace=True,
                index_col=False,
                encoding="utf-8-sig",
            )
    except DataError:
        raise
    except Exception as error:  # pandas and pyarrow raise a dozen kinds for a broken file
        raise DataError(f"{file} is no readable table ({' '.join(str(error).split())})") from None


class Columns(NamedTuple):
    """What the columns are called; None where there is no split or box."""

    path: str
    label: str
    split: str | None
    box: list[str] | None


def _columns(file: Path, there: list[str], asked: Mapping[str, Any]) -> Columns:
    wanted: dict[str, Any] = {"path": "path", "class": "class", "split": None, "box": None}
    if unknown := sorted(asked.keys() - wanted.keys()):
        raise ConfigError(f"data.columns.{unknown[0]}: expected path, class, split or box")
    wanted |= asked
    if wanted["split"] is None and "split" in there:
        wanted["split"] = "split"
    if wanted["box"] is None and set(BOX) <= set(there):
        wanted["box"] = BOX
    box = wanted["box"]
    if box is not None and (isinstance(box, str) or len(box) != 4):
        raise ConfigError(
            f"data.columns.box={box}: expected four names, as [left,top,right,bottom]"
        )
    split = None if wanted["split"] is None else str(wanted["split"])
    boxes = None if box is None else [str(name) for name in box]
    names = Columns(str(wanted["path"]), str(wanted["class"]), split, boxes)
    for key, value in zip(wanted, names, strict=True):
        for name in [value] if isinstance(value, str) else value or []:
            if name not in there:
                raise DataError(
                    f"{file} has no column {name!r} (data.columns.{key}): it has "
                    f"{list_some(there)}; type data.columns.{key}=<one of them>"
                )
    return names


def _texts(rows: "pd.DataFrame", name: str, file: Path) -> list[str]:
    """A column as text; raises DataError for empty cells. Whole numbers have no decimals."""
    values = rows[name]
    if values.dtype.kind == "f" and all(value % 1 == 0 for value in values.dropna()):
        values = values.astype("Int64")
    texts = values.astype(str).str.strip()
    gone = texts.eq("") | rows[name].isna()
    empty = [str(row) for row, is_gone in enumerate(gone, start=1) if is_gone]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(rows)} rows of {file} have no {name}: rows "
            f"{list_some(empty, 5)}; fill them in or remove them"
        )
    return texts.tolist()


def _id(path: str, root: Path) -> str:
    """The path below the root; the whole path where it lies elsewhere."""
    full = os.path.normpath(os.path.join(root, os.path.expanduser(path)))
    inside = os.path.relpath(full, root)
    return full if inside.startswith("..") else inside


def _check_once(file: Path, ids: Sequence[str], classes: Sequence[str]) -> None:
    said: dict[str, set[str]] = {}
    for id, name in zip(ids, classes, strict=True):
        said.setdefault(id, set()).add(name)
    if against := [f"{id} ({' and '.join(sorted(n))})" for id, n in said.items() if len(n) > 1]:
        raise DataError(
            f"{len(against)} photos of {file} have labels that contradict each other: "
            f"{list_some(against, 3)}; keep one row of each"
        )
    if len(said) < len(ids):
        double = [id for id, times in Counter(ids).items() if times > 1]
        raise DataError(
            f"{len(double)} photos stand more than once in {file}: {list_some(double, 3)}; keep "
            "one row of each"
        )


def _splits(rows: "pd.DataFrame", name: str, file: Path) -> list[str | None]:
    words = _texts(rows, name, file)
    if unknown := sorted({word for word in words if split_of(word) is None}):
        raise DataError(
            f"column {name!r} of {file} holds {list_some(unknown, 5)}: expected train, val and "
            "test; name another column with data.columns.split, or rename it if it is no split"
        )
    return [split_of(word) for word in words]


def _boxes(rows: "pd.DataFrame", names: Sequence[str], file: Path) -> list[Box | None]:
    import pandas as pd

    cells = zip(*(rows[name].astype(str).str.strip() for name in names), strict=True)
    numbers = zip(*(pd.to_numeric(rows[name], errors="coerce") for name in names), strict=True)
    boxes: list[Box | None] = []
    wrong: list[str] = []
    for row, (written, box) in enumerate(zip(cells, numbers, strict=True), start=1):
        left, top, right, bottom = box
        if left < right and top < bottom:  # False for NaN
            boxes.append((round(left), round(top), round(right), round(bottom)))
        elif all(cell in ("", "nan", "None", "<NA>") for cell in written):
            boxes.append(None)
        else:
            wrong.append(f"{row} ({', '.join(written)})")
    if wrong:
        raise DataError(
            f"{len(wrong)} rows of {file} have a box that is none: row {list_some(wrong, 3)}; "
            f"expected numbers with {names[0]} < {names[2]} and {names[1]} < {names[3]}"
        )
    if any(boxes) and all(max(box) <= 1 for box in boxes if box):
        raise DataError(f"all boxes of {file} lie in 0..1: expected pixels")
    return boxes
