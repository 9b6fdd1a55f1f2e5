"""Made pictures that are added to training, and to nothing else: `data.extra`.

They never enter a source, so that no split, class count or cutoff can know of them; the data module
keeps them beside its splits and shows them in training epochs only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carsclf.data.decoding import SUFFIXES
from carsclf.data.made import Synthetic
from carsclf.data.mapping import ClassMapping
from carsclf.data.samples import Sample, Source, absolute, list_some, shown
from carsclf.data.splits import Splits
from carsclf.errors import CheckpointError, ConfigError, DataError, nearest

RECORD = "synthetic.json"


@dataclass(frozen=True)
class Extra:
    """What is trained on beside photos: `samples` by their kind, and what there is to say of it."""

    samples: Mapping[str, list[Sample]] = field(default_factory=dict)
    left_out: Mapping[str, list[str]] = field(default_factory=dict)  # why -> ids
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Made:
    """One folder of made pictures, with the classes of the photos' source."""

    record: Synthetic
    source: Source

    @property
    def folder(self) -> Path:
        return self.source.root


def refuse_made(source: Source) -> None:
    """Refuses a source of photos that holds made pictures: they would be validated on."""
    seen: set[Path] = set()
    for folder in {sample.path.parent for sample in source.samples}:
        for place in (folder, *folder.parents):
            if place in seen or not place.is_relative_to(source.root):
                break
            seen.add(place)
            if (place / RECORD).is_file():
                raise DataError(
                    f"{place} holds made pictures ({RECORD}), on which no accuracy may be judged: "
                    "train on photos, and add these with data.extra=[...] (outside data.root)"
                )


def read_extra(
    folders: Sequence[str], class_names: Sequence[str], mapping: ClassMapping, *, crop: str
) -> list[Made]:
    """The folders that `data.extra` names. Raises DataError and ConfigError in one line.

    class_names: all of the photos', before `mapping`, which holds for made pictures too, whether
    they were made before or after it; crop: how the photos are read.
    """
    places = [absolute(folder).resolve() for folder in folders]
    if twice := [place for place in places if places.count(place) > 1]:
        raise ConfigError(f"data.extra names {twice[0]} twice: once is enough")
    names = list(dict.fromkeys(map(mapping.name, class_names)))
    return [_read(place, names, mapping, crop) for place in places]


def _read(folder: Path, names: list[str], mapping: ClassMapping, crop: str) -> Made:
    record = _record(folder)
    if unknown := [name for name in record.classes if mapping.name(name) not in names]:
        raise DataError(
            f"data.extra: {folder} has pictures of {len(unknown)} classes that the photos lack: "
            f"{list_some(unknown, 5)}; {nearest(unknown[0], names)} They were made "
            "for other data, or classes were renamed"
        )
    made = record.made_by.get("crop", "none")
    if made != crop:
        raise ConfigError(
            f"data.extra: {folder} was made of photos with data.crop={made}, and this training has "
            f"data.crop={crop}: give both the same"
        )
    index = {name: i for i, name in enumerate(names)}
    samples = [
        Sample(
            path.as_posix(), path, index[mapping.name(name)]
        )  # a whole path, which is no photo's id
        for name in record.classes
        for path in _pictures(folder, name)
    ]
    if record.sources is not None:
        of = {s.path.relative_to(folder).as_posix() for s in samples} - record.sources.keys()
        if of:
            raise DataError(
                f"data.extra: {folder}/{RECORD} does not say of which photo {len(of)} pictures "
                f"were made: {list_some(sorted(of), 3)}; remove them, or make the folder anew"
            )
    return Made(record, Source(record.kind, folder, names, samples))


def _record(folder: Path) -> Synthetic:
    if not folder.is_dir():
        raise DataError(f"data.extra: {folder} is no folder")
    if not (folder / RECORD).is_file():
        raise DataError(
            f"data.extra: {folder} has no {RECORD}, so nobody knows whether its pictures show "
            "photos that are validated on; take a folder that was made by this project, such as "
            "synthetic/ in the run folder of train.py +experiment=wgan, or write one with kind, "
            "classes, seed, made_by, and sources or trained_on (docs/tricks.md)"
        )
    try:
        record = Synthetic.read(folder / RECORD)
    except CheckpointError as error:
        raise DataError(f"data.extra: {error}") from None
    if wrong := record.mistake():
        raise DataError(f"data.extra: {folder}/{RECORD}: {wrong}")
    return record


def class_folder(folder: Path, name: str) -> Path:
    """Where a class's made pictures lie; a name with a slash is a folder in a folder."""
    place, folder = (folder / name).resolve(), folder.resolve()
    if not place.is_relative_to(folder) or place == folder:
        raise DataError(
            f"the class {shown(name)!r} cannot be a folder below {folder}: rename it in the data"
        )
    return place


def _pictures(folder: Path, name: str) -> list[Path]:
    place = class_folder(folder, name)
    found = sorted(p for p in place.glob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"data.extra: {place} has no picture, though {RECORD} lists the class")
    return found


def chosen(
    made: Sequence[Made], whole: Source, class_names: Sequence[str], splits: Splits
) -> Extra:
    """Which made pictures this training may see, with targets among its own classes.

    Pictures made of photos that it does not train on are left out. Raises DataError for a
    generator that saw photos of validation or test, or photos that nobody here knows. whole: the
    source before `data.classes` chose; splits: as trained on.
    """
    samples: dict[str, list[Sample]] = {}
    left_out: dict[str, list[str]] = {}
    notes: list[str] = []
    trained = {sample.id for sample in splits["train"]}
    index = {name: i for i, name in enumerate(class_names)}
    for one in made:
        _check_generator(one, whole, splits)
        kept = []
        for sample in one.source.samples:
            target = index.get(one.source.class_names[sample.target])
            if target is None:
                left_out.setdefault("made pictures of other classes", []).append(sample.id)
            elif not _of_training(sample, one, trained):
                why = "made pictures of photos that are not trained on"
                left_out.setdefault(why, []).append(sample.id)
            else:
                kept.append(Sample(sample.id, sample.path, target))
        if not kept:
            raise DataError(
                f"data.extra: none of the {len(one.source.samples)} pictures below {one.folder} "
                f"is of a class and a photo that this training trains on{_remedy(one)}"
            )
        samples[one.record.kind] = [*samples.get(one.record.kind, []), *kept]
        beyond = set(one.record.trained_on or ()) - trained
        seen = f"its generator saw {len(beyond)} photos that are not trained on here"
        notes.append(
            f"{len(kept)} pictures of kind {one.record.kind} ({one.folder}"
            f"{f'; {seen}' if beyond else ''})"
        )
    return Extra(samples, left_out, notes)


def _of_training(sample: Sample, one: Made, trained: set[str]) -> bool:
    sources = one.record.sources
    return sources is None or sources[sample.path.relative_to(one.folder).as_posix()] in trained


def _check_generator(one: Made, whole: Source, splits: Splits) -> None:
    saw = set(one.record.trained_on or ())
    for split, does in {"val": "validates", "test": "tests"}.items():
        held = sorted(saw & {sample.id for sample in splits.get(split, [])})
        if held:
            raise DataError(
                f"data.extra: what made {one.folder} was trained on {len(held)} photos that this "
                f"training {does} on ({list_some(held, 3)}), whose likeness it would be taught"
                f"{_remedy(one)}"
            )
    if saw and not saw & {sample.id for sample in whole.samples}:
        raise DataError(
            f"data.extra: what made {one.folder} was trained on {len(saw)} photos, of which none "
            f"is among those below {whole.root}, so nobody knows whether it saw what this training "
            "validates on: make the pictures from the same data (and the same data.root)"
        )


def _remedy(one: Made) -> str:
    """How to come to the split that the pictures were made with."""
    seed = one.record.made_by.get("split_seed")
    same = "data.split_seed" if seed is None else f"data.split_seed={seed}"
    return (
        f": give {same}, and the data.protocol, data.val_fraction and data.test_fraction that they "
        "were made with, or make them anew with this training's"
    )
