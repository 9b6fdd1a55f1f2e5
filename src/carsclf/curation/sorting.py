"""`decide.py page=true`: a filtered list of photos without labels, decided on in the browser."""

from collections.abc import Mapping
from getpass import getuser
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from carsclf.analysis.filters import FILTERS
from carsclf.curation.decisions import classes_in, place_of, why_no_photo
from carsclf.data.decision_log import read_ledger
from carsclf.data.decoding import is_picture
from carsclf.data.samples import list_some
from carsclf.errors import DataError
from carsclf.files import separator_of
from carsclf.options.command_line import argument, say_next

IN_LIBRARY = "library:"  # begins the ids of photos that are shown as examples


def sort_photos(config: DictConfig, listed: Path, photos: Path, library: Path) -> None:
    """Opens the page on a list of `predict.py filter=`, until it is ended.

    What is decided is in `<list>_decided.csv`, which decide.py takes as a list of decisions.
    """
    from carsclf.curation.page.board import Board, findings_of
    from carsclf.curation.page.manner import SORTING
    from carsclf.curation.page.serve import serve_page

    folders = classes_in(library)
    examples = {folder.name: first for folder in folders if (first := _first_of(folder))}
    rows, paths = read_list(listed, photos, examples)
    known = {f"{IN_LIBRARY}{name}": path for name, path in examples.items()}
    log = listed.with_name(f"{listed.stem}_decided.csv")
    names = [folder.name for folder in folders]
    board = Board(findings_of(rows), paths | known, names, log, SORTING)
    then = [argument("decisions", log), argument("photos", photos), argument("library", library)]
    say_next(f"python decide.py {' '.join(then)}")
    serve_page(board, config.who or getuser(), config.port)
    if typed := sorted(_classes_named(log) - {*names}):
        say_next(f"python decide.py {' '.join([*then, argument('new', typed)])}")


def _classes_named(log: Path) -> set[str]:
    """All that photos were said to be."""
    if not log.is_file():
        return set()
    ledger = read_ledger(log.read_bytes(), log)
    fates = filter(None, map(ledger.fate, ledger.ids()))
    return {fate.value for fate in fates if fate.decision == "relabel"}


def read_list(
    listed: Path, photos: Path, examples: Mapping[str, Path]
) -> tuple[pd.DataFrame, dict[str, Path]]:
    """The list as findings, and where each of its photos lies, by id below `photos`.

    Raises DataError for a list without photos that lie there.
    """
    try:
        text = listed.read_text(encoding="utf-8-sig")
        separator = separator_of(text.partition("\n")[0])
        table: Any = pd.read_csv(StringIO(text), sep=separator, keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"decisions={listed} cannot be read as a CSV ({error})") from None
    if lacking := [name for name in ("path", "predicted", "probability") if name not in table]:
        raise DataError(
            f"decisions={listed} has no column {list_some(lacking)}: the page opens the lists that "
            "predict.py writes with filter=..."
        )
    kind = next((name for name in FILTERS if listed.stem.endswith(f"_{name}")), "unlabelled")
    rows, paths = [], dict[str, Path]()
    for row in table.to_dict("records"):
        path = place_of(row, photos)
        if why_no_photo(path, photos, row) or not path.is_file():
            continue
        id = path.relative_to(photos).as_posix()
        paths[id] = path
        predicted = row["predicted"]
        rows.append({
            "kind": kind, "id": id, "class": "", "split": "", "reason": _why(row),
            "suggested": predicted, "predicted": predicted,
            "probability": float(row["probability"]),
            "nearest_suggested": f"{IN_LIBRARY}{predicted}" if predicted in examples else None,
        })  # fmt: skip
    if not rows:
        raise DataError(f"decisions={listed}: none of its {len(table)} photos lies below {photos}")
    columns = ("other", "other_class", "other_split", "nearest_own")
    return pd.DataFrame(rows).assign(**dict.fromkeys(columns)), paths


def _why(row: Mapping[str, str]) -> str:
    told = [f"{name} {float(row[name]):.2f}" for name in ("openness", "distance") if row.get(name)]
    if row.get("predicted_2"):
        told.append(f"then {row['predicted_2']} ({float(row['probability_2']):.0%})")
    return ", ".join(told)


def _first_of(folder: Path) -> Path | None:
    """A photo of a class of the library."""
    return min((p for p in folder.iterdir() if is_picture(p)), default=None)
