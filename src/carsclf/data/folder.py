"""Any folder of labelled pictures: root/<class>/* or root/{train,val,test}/<class>/*."""

from pathlib import Path

from carsclf.data.samples import Sample, Source, list_some
from carsclf.errors import DataError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"}
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
EXPECTED = "expected root/<class>/*.jpg or root/{train,val,test}/<class>/*.jpg"


def folder(root: str | Path) -> Source:
    """Recognises the layout by its first level: only split names there means a divided folder.

    Raises DataError for no classes, an empty class, or a class missing from the training part.
    """
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"data.root={root} is no folder: {EXPECTED}")
    top = _folders(root)
    if not top:
        raise DataError(f"{root} has no folders in it: {EXPECTED}")
    divided = "train" in {p.name for p in top} and all(p.name in SPLITS for p in top)
    places = [(p, SPLITS[p.name]) for p in top] if divided else [(root, None)]
    trained = _folders(root / "train") if divided else top
    class_names = sorted(p.name for p in trained)
    samples = []
    for place, given in places:
        samples += _classes(root, place, given, class_names)
    _check_classes(root, class_names, samples)
    parts = {given for _, given in places}
    official = None if "test" in parts else "needs train/ and test/ folders"
    return Source("folder", root, class_names, samples, {"official": official})


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(root: Path, place: Path, given: str | None, names: list[str]) -> list[Sample]:
    index = {name: i for i, name in enumerate(names)}
    samples = []
    for class_folder in _folders(place):
        if class_folder.name not in index:
            raise DataError(f"{class_folder} is a class that {root / 'train'} lacks")
        files = sorted(p for p in class_folder.rglob("*") if p.suffix.lower() in EXTENSIONS)
        samples += [
            Sample(p.relative_to(root).as_posix(), p, index[class_folder.name], given)
            for p in files
        ]
    return samples


def _check_classes(root: Path, class_names: list[str], samples: list[Sample]) -> None:
    if not class_names:
        raise DataError(f"{root} holds no class folders: {EXPECTED}")
    trained = {s.target for s in samples if s.given in (None, "train")}
    empty = [name for i, name in enumerate(class_names) if i not in trained]
    if empty:
        raise DataError(
            f"{len(empty)} class folders below {root} hold no pictures: {list_some(empty)}; "
            "add pictures or remove the folders"
        )
