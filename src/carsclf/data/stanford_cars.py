"""Stanford Cars as published: the official layout, and the all-in-one layout.

Krause, Stark, Deng, Fei-Fei: 3D Object Representations for Fine-Grained Categorization (2013).
"""

from pathlib import Path
from typing import Any

import numpy as np

from carsclf.data.samples import Sample, Source, data_root, list_some
from carsclf.errors import DataError

OFFICIAL_TRAIN, OFFICIAL_TEST, ALL = 8144, 8041, 16185
LAYOUTS = (
    "cars_train/ (and cars_test/) beside devkit/cars_train_annos.mat and devkit/cars_meta.mat, "
    "or car_ims/ beside cars_annos.mat"
)


def stanford_cars(root: str | Path, *, name: str = "stanford_cars") -> Source:
    """Reads annotations and class names; photos are checked for being there, not opened.

    Raises DataError for a folder that is neither layout, labels outside 1..n, absent photos.
    """
    root = data_root(root, f"expected {LAYOUTS}")
    if (root / "cars_annos.mat").is_file():
        class_names, samples = _all_in_one(root)
    elif (root / "devkit" / "cars_train_annos.mat").is_file():
        class_names, samples = _official(root)
    else:
        found = list_some(sorted(p.name for p in root.iterdir())) or "nothing"
        raise DataError(f"{root} is not Stanford Cars: expected {LAYOUTS}; found {found}")
    _check_files(root, samples)
    return Source(name, root, class_names, samples, _protocols(samples, name))


def _official(root: Path) -> tuple[list[str], list[Sample]]:
    class_names = _class_names(_load(root / "devkit" / "cars_meta.mat"), root)
    samples = _rows(root, "devkit/cars_train_annos.mat", "cars_train", "train", class_names)
    labelled = [
        root / place / "cars_test_annos_withlabels.mat"
        for place in ("devkit", ".")
        if (root / place / "cars_test_annos_withlabels.mat").is_file()
    ]
    if (root / "cars_test").is_dir() and labelled:
        path = labelled[0].relative_to(root).as_posix()
        samples += _rows(root, path, "cars_test", "test", class_names)
    return class_names, samples


def _all_in_one(root: Path) -> tuple[list[str], list[Sample]]:
    annotations = _load(root / "cars_annos.mat")
    meta = root / "cars_meta.mat"
    class_names = _class_names(annotations if "class_names" in annotations else _load(meta), root)
    samples = [
        _sample(root, str(row["relative_im_path"]), row, class_names, _half(row), "cars_annos.mat")
        for row in np.atleast_1d(annotations["annotations"])
    ]
    return class_names, samples


def _half(row: Any) -> str:
    return "test" if int(row["test"]) else "train"


def _rows(root: Path, file: str, folder: str, half: str, class_names: list[str]) -> list[Sample]:
    rows = np.atleast_1d(_load(root / file)["annotations"])
    if "class" not in (rows.dtype.names or ()):
        raise DataError(f"{root / file} has no labels: cars_test_annos_withlabels.mat has them")
    return [_sample(root, f"{folder}/{row['fname']}", row, class_names, half, file) for row in rows]


def _sample(root: Path, id: str, row: Any, names: list[str], half: str, file: str) -> Sample:
    label = int(row["class"])  # 1-based in the .mat files, 0-based everywhere else
    if not 1 <= label <= len(names):
        raise DataError(f"{file}: {id} has class {label}, expected 1..{len(names)} (cars_meta.mat)")
    x1, y1, x2, y2 = (int(row[key]) for key in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"))
    return Sample(id, root / id, label - 1, half, (x1 - 1, y1 - 1, x2, y2))  # 1-based, inclusive


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError(f"{path} is missing: expected {LAYOUTS}")
    try:
        return loadmat(path, squeeze_me=True)
    except Exception as error:  # scipy raises a dozen kinds for a broken file
        raise DataError(f"{path} is not a readable .mat file ({error}): copy it again") from None


def _class_names(mat: dict[str, Any], root: Path) -> list[str]:
    if "class_names" not in mat:
        raise DataError(f"{root}: cars_meta.mat has no class_names: copy it again")
    return [str(name) for name in np.atleast_1d(mat["class_names"])]


def _check_files(root: Path, samples: list[Sample]) -> None:
    folders = {sample.path.parent for sample in samples}
    there = {p for folder in folders if folder.is_dir() for p in folder.iterdir()}
    absent = [sample.id for sample in samples if sample.path not in there]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(samples)} annotated photos are absent below {root}: "
            f"{list_some(absent)}; copy the missing ones, or train on what an annotation file "
            "for the present ones names"
        )


def _protocols(samples: list[Sample], name: str) -> dict[str, str | None]:
    """Which of the named protocols these photos allow, and why not."""
    train = sum(sample.given == "train" for sample in samples)
    test = len(samples) - train
    if name != "stanford_cars":  # drawn in the same layout: both halves are always there
        return {"official": None, "published": None}
    official = (train, test) == (OFFICIAL_TRAIN, OFFICIAL_TEST)
    return {
        "official": None
        if official
        else f"needs {OFFICIAL_TRAIN} train and {OFFICIAL_TEST} test photos, found {train} and "
        f"{test}",
        "published": None
        if train + test == ALL
        else f"needs all {ALL} photos, found {train + test}",
    }
