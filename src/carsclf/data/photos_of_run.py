"""Which photos a run was trained, validated and tested on, kept with it as it begins.

What its data hold may change afterwards: a library grows, and a split drawn anew is another.
"""

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from carsclf.data.build import make_source, pick_workers, transforms_of
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.fingerprints import contents
from carsclf.data.mapping import ClassMapping
from carsclf.data.reading import readable_photos
from carsclf.data.samples import Sample, list_some, shown
from carsclf.data.splits import Splits
from carsclf.data.wholes import Wholes
from carsclf.errors import CheckpointError, DataError
from carsclf.files import atomic_write, cache_root
from carsclf.records import RunFolder

log = logging.getLogger(__name__)
GONE = 0.1
"""Share of a run's photos without which it is not judged: more likely the folder is another."""


def write_photos(splits: Splits, class_names: Sequence[str], file: Path) -> None:
    """A row per photo, as parquet: id, split, class, path, content (SHA-256 of the file)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = contents([s for samples in splits.values() for s in samples])
    rows = [
        {"id": s.id, "split": name, "class": class_names[s.target], "path": str(s.path),
         "content": found.get(s.id)}
        for name, samples in splits.items()
        for s in samples
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    with atomic_write(file) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_photos(
    file: Path, splits: Sequence[str], root: str | Path | None = None
) -> tuple[list[Sample], dict[str, str | None]]:
    """Those of some splits that are still there, below `root` where they moved, and by id the
    contents of those that are not; None where an earlier version did not note it.

    Their targets mean nothing. Raises CheckpointError where the file is damaged.
    """
    there, gone = list[Sample](), dict[str, str | None]()
    for row in _rows(file):
        path = Path(root).expanduser() / row["id"] if root else Path(row["path"])
        if row["split"] not in splits:
            continue
        if path.is_file():
            there.append(Sample(row["id"], path, 0))
        else:
            gone[row["id"]] = row.get("content")
    return there, gone


def as_in_run(splits: Splits, file: Path) -> Splits:
    """The photos in the splits that a run had them in; those that it did not have stay."""
    known = {row["id"]: row["split"] for row in _rows(file)}
    found: Splits = {name: [] for name in splits}
    for name, part in splits.items():
        for sample in part:
            found.setdefault(known.get(sample.id, name), []).append(sample)
    return found


def check_photos(splits: Splits, class_names: Sequence[str], file: Path) -> None:
    """Raises CheckpointError where a run would go on with other photos than it began with."""
    before = Counter((row["id"], row["split"], row["class"]) for row in _rows(file))
    now = Counter(
        (s.id, name, class_names[s.target]) for name, part in splits.items() for s in part
    )
    if before == now:
        return
    ids, own = {id for id, *_ in now}, {id for id, *_ in before}
    told = {
        "more": ids - own,
        "gone": own - ids,
        "in another split or class": {id for id, *_ in (now - before)} & own,
    }
    said = [f"{len(ids)} {what} ({list_some(sorted(ids), 3)})" for what, ids in told.items() if ids]
    raise CheckpointError(
        f"the photos are not those that {file.parent} began with: "
        f"{'; '.join(said) or 'others are repeated'}; "
        "put back what changed, or train anew with another name"
    )


def begun_with(run: Path) -> Iterator[RunFolder]:
    """A run, the one whose weights it began with, and so on; of a model's file, its run."""
    seen: set[Path] = set()
    run = _run_of(run)
    while run not in seen:
        seen.add(run)
        files = RunFolder(run)
        yield files
        weights = _run_of(Path(str(OmegaConf.load(files.config).model.weights)).expanduser())
        if RunFolder(weights).config.is_file():
            run = weights


def _run_of(weights: Path) -> Path:
    folder = RunFolder(weights.parent)
    return folder.root if weights == folder.weights else weights


def trained_before(weights: str, file: Path) -> dict[str, int]:
    """How many photos of a run's splits, by their content, the runs it began with had trained on.

    weights: `model.weights`; file: the run's list of photos. Splits that are judged on only, and
    only those that have such photos; nothing is known of runs of earlier versions.
    """
    trained = set[str | None]()
    for files in begun_with(Path(weights).expanduser()):
        if not files.photos.is_file():
            break
        trained |= {row.get("content") for row in _rows(files.photos) if row["split"] == "train"}
    trained.discard(None)
    if not trained:
        return {}
    own = Counter(r["split"] for r in _rows(file) if r.get("content") in trained)
    return {split: count for split, count in own.items() if split != "train"}


def data_of_run(config: DictConfig, file: Path, class_names: list[str]) -> CarsDataModule:
    """The splits that a run had, however its library has changed since.

    config: the run's; class_names: its model's. A few photos that are gone are left out, which is
    said. Raises DataError where more are, CheckpointError for a file that is not this model's.
    """
    rows, place = _rows(file), {name: i for i, name in enumerate(class_names)}
    if strange := {row["class"] for row in rows} - place.keys():
        raise CheckpointError(
            f"{file} is not this model's, which lacks {list_some(sorted(strange))}"
        )
    source, settings = make_source(config)
    read: dict[str, Any] = {key: settings[key] for key in ("crop", "margin")}
    transforms = transforms_of(config)
    packed = settings.get("packed", True)
    photos = readable_photos(
        source,
        cache_root(),
        {each.stored for each in transforms} if packed else set(),
        **read,
        decisions=settings.get("decisions"),
        skip=settings["skip_unreadable"],
        needed={row["id"] for row in rows},
    )
    source = photos.source
    there = {sample.id: sample for sample in source.samples}
    splits: Splits = {}
    for row in (row for row in rows if row["id"] in there):
        sample = dataclasses.replace(there[row["id"]], target=place[row["class"]])
        splits.setdefault(row["split"], []).append(sample)
    gone = {name: [r["id"] for r in rows if r["split"] == name and r["id"] not in there]
            for name in dict.fromkeys(row["split"] for row in rows)}  # fmt: skip
    if (lost := [id for ids in gone.values() for id in ids]) and len(lost) > GONE * len(rows):
        raise DataError(
            f"{len(lost)} of the {len(rows)} photos that {file.parent} was trained and judged on "
            f"are not below {source.root} ({list_some(lost, 3)}): is root= right? Else put them "
            "back, or train anew"
        )
    parts = ", ".join(f"{len(part)} {name}" for name, part in splits.items())
    told = [f"{len(ids)} {name} ({list_some(ids, 3)})" for name, ids in gone.items() if ids]
    rank_zero_only(log.info)(
        "data: %d classes, %s photos below %s, as they were divided in training%s",
        *(len(class_names), parts, shown(str(source.root))),
        f"; gone since: {', '.join(told)}" if told else "",
    )
    named = ClassMapping(**(settings.get("mapping") or {}))
    return CarsDataModule(
        splits,
        class_names,
        *transforms,
        batch_size=settings["batch_size"],
        seed=config.seed,
        workers=pick_workers(settings["workers"], packed=packed),
        **read,
        protocol=source.own_protocol if settings["protocol"] == "auto" else settings["protocol"],
        packs=photos.packs,
        noted=source.noted,
        wholes=Wholes.of(class_names, named.report),
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """A row a photo: id, split, class, path and, of this version, content. Raises
    CheckpointError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
        table.select(["id", "split", "class", "path"])  # KeyError for one that is not there
        return table.to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise CheckpointError(f"{file} cannot be read ({error})") from None
