"""Reference sets made (`reference.py`), judged on (`evaluate.py reference=`), and looked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from carsclf.data.build import pick_workers
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.fingerprints import check_hashes
from carsclf.data.folder import folder
from carsclf.data.mapping import ClassMapping
from carsclf.data.photos_of_run import GONE, begun_with, read_photos
from carsclf.data.reference import ReferenceSet, all_references, make_set
from carsclf.data.samples import Sample, absolute, list_some
from carsclf.data.views import Views
from carsclf.data.withhold import HELD, Withheld, kept_for, withheld
from carsclf.errors import CheckpointError, ConfigError, DataError, mistakes, one_line
from carsclf.inference.predict import TrainedModel, load_model
from carsclf.inference.split import How, open_run, predict_photos
from carsclf.models.weights import NAMED
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.reference import REFERENCE
from carsclf.records import Predictions, RunFolder


def make_reference(config: DictConfig) -> Path:
    """Freezes a folder of labelled photos, or a split of a run, under a name; returns the file."""
    config = checked(config, REFERENCE)
    if (config.photos is None) == (config.run is None):
        raise ConfigError(
            "give photos=<folder of class folders>, or run=<run folder>, and not both"
        )
    check_hashes()
    if config.photos is not None:
        source = folder(config.photos)
        root, samples, names = source.root, source.samples, source.class_names
    else:
        run = open_run(
            Path(config.run).expanduser(), How(config.split, root=config.root, device="cpu")
        )
        samples, names = run.data.splits[config.split], run.data.class_names
        root = root_of(samples[0])
    made = make_set(config.name, config.folder, root, samples, names, kept_for(samples))
    made.write()
    print(f"reference set {made.name}: {len(made.table)} photos, {len(made.class_names)} classes: "
          f"{made.file}")  # fmt: skip
    if config.run is not None and config.split != "test":
        print(f"{config.run} has seen these photos, so the gate refuses it: train it anew")
    named = made.name if made.file in all_references() else made.file
    if named != made.name:
        print(
            "data.references=auto holds back the sets below references/ only: name this one there"
        )
    say_next(f"python evaluate.py run=<run folder> {argument('reference', named)}")
    return made.file


def judge(run: Path, reference: ReferenceSet, how: How) -> tuple[Predictions, list[str]]:
    """What a run's model says of a set's photos, and the classes of the set that it lacks.

    Classes are matched by name: as they are, as data.mapping renamed them, or as a part's whole.
    One that the model lacks stands in a column of its own with probability 0: always wrong.
    how: its root is where the set's photos lie now. Raises DataError where these are others.
    """
    files = RunFolder(run)
    if not files.config.is_file():
        raise CheckpointError(f"run={run}: no config.yaml there; is it a run folder?")
    trained = OmegaConf.load(files.config)
    model = load_model(run, device=how.device, channels_last=trained.model.channels_last)
    samples = reference.checked(how.root)
    names = model.wholes.names
    known = [_name(name, trained.data, model, names) for name in reference.class_names]
    lacking = [n for n, own in zip(reference.class_names, known, strict=True) if own is None]
    columns = [*names, *lacking]
    place = [columns.index(own or n) for own, n in zip(known, reference.class_names, strict=True)]
    view: Any = model.transform
    own: dict[str, Any] = {"crop": trained.data.crop, "margin": trained.data.margin}
    workers = pick_workers(how.workers, packed=False)
    data = CarsDataModule({"train": samples}, reference.class_names, view, view, batch_size=1,
                          seed=0, workers=workers, **own)  # fmt: skip
    views = Views(model.transform, how.tta) if how.tta else None
    loader = data.loader_of(samples, batch_size=how.batch_size, transform=views)
    said = predict_photos(model, views, loader, samples, names)
    none = np.zeros((len(samples), len(lacking)), np.float32)
    return Predictions(
        ids=said.ids,
        paths=said.paths,
        targets=np.array([place[s.target] for s in samples]),
        probabilities=np.concatenate([said.probabilities, none], 1),
        class_names=columns,
        leak=model.card.leak,
    ), lacking


def root_of(sample: Sample) -> Path:
    """The folder below which a data set's photos have their ids."""
    path, parts = absolute(str(sample.path)), Path(sample.id).parts
    return path.parents[len(parts) - 1] if path.parts[-len(parts) :] == parts else path.parent


def part_of(reference: ReferenceSet, how: How) -> str:
    """What its files in a run's predictions/ are named after."""
    return f"reference-{reference.name}" + (f"_{how.tta}" if how.tta else "")


def told_lacking(lacking: Sequence[str], reference: ReferenceSet) -> list[str]:
    """A line, where the model lacks classes of the set."""
    if not lacking:
        return []
    photos = sum(name in lacking for name in reference.table["class"])
    return [f"the model lacks {len(lacking)} classes of {reference.name}, whose {photos} photos "
            f"count as wrong: {list_some(lacking)}"]  # fmt: skip


def trained_on(
    run: Path, sets: Sequence[ReferenceSet], root: str | None
) -> tuple[Withheld, list[str]]:
    """Photos of the sets, or twins of theirs, that a run was trained or validated on, and a line
    where some are not where they were.

    Its own list of photos tells which they were, and those of the runs that its weights began
    with; a run of an earlier version has none, and its data as they lie there now are taken. One
    that is gone is known by its content only, and by nothing where the list is of an earlier
    version. Raises ConfigError where more than GONE cannot be looked at so.
    """
    samples, gone, weights = list[Sample](), dict[str, str | None](), "none"
    for files in begun_with(run):
        there, lost = _seen_by(files.root, root)
        samples += there
        gone |= lost
        weights = str(OmegaConf.load(files.config).model.weights)
    # one place at a time, since its fingerprints are kept by id
    found = [withheld([s for s in samples if kept_for([s]) == kept], sets)
             for kept in dict.fromkeys(kept_for([s]) for s in samples)]  # fmt: skip
    same = {id: name for each in found for id, name in each.same.items()}
    frozen = {content: one.name for one in sets for content in one.table["content"]}
    same |= {id: frozen[content] for id, content in gone.items() if content in frozen}
    twins = {id: name for each in found for id, name in each.twins.items()}
    unknown = [id for id, content in gone.items() if content is None]
    notes = {
        "by content alone, so that near duplicates are not found": [
            id for id, content in gone.items() if content is not None
        ],
        "by nothing": unknown,
    }
    told = [
        f"{len(ids)} of the {len(samples) + len(gone)} photos that {run} was trained on are not "
        f"where they were, and were looked for {how} ({list_some(ids, 3)}): data_root=<folder> "
        "says where they lie now"
        for how, ids in notes.items()
        if ids
    ]
    if weights not in NAMED and not Path(weights).expanduser().exists():
        told.append(
            f"{weights}, the weights that {run} or one before it began with, are gone: whether "
            "they were trained on photos of the sets is not known"
        )
    return Withheld({one.name: one.hash for one in sets}, same, twins), told


def _seen_by(run: Path, root: str | None) -> tuple[list[Sample], dict[str, str | None]]:
    """The training and validation photos of one run that are still there, and the contents of
    others."""
    kept = RunFolder(run).photos
    try:
        if kept.is_file():
            there, gone = read_photos(kept, HELD, root)
            unknown = [id for id, content in gone.items() if content is None]
            if len(unknown) > GONE * (len(there) + len(gone)):
                raise DataError(f"{len(unknown)} of its photos are not where they were")
            return there, gone
        splits = open_run(run, How("train", root=root, device="cpu")).data.splits
        return [s for name in HELD for s in splits[name]], {}
    except mistakes() as error:
        raise ConfigError(
            f"whether {run} was trained on photos of the reference sets is looked for in its data "
            f"({one_line(error)}): say where they lie now with data_root=<folder>"
        ) from None


def _name(given: str, data: DictConfig, model: TrainedModel, names: Sequence[str]) -> str | None:
    """As what the model tells a class of the set; None where it does not know it."""
    mapping: Any = OmegaConf.to_container(data.get("mapping") or OmegaConf.create({}))
    renamed = ClassMapping(**mapping).name(given)
    ways = (given, renamed, model.card.parts.get(given), model.card.parts.get(renamed))
    return next((name for name in ways if name in names), None)
