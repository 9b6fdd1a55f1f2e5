"""What curation finds of faults that were planted: see README.md.

    python -m experiments.curation.measure <cars> <scenes> <weights> <folder>

Writes results.csv (labels flipped at random), copies.csv (photos saved anew) and pairs.csv (pairs
that the cars themselves hold) into <folder>. One thread; features are kept in $CARSCLF_CACHE.
"""

import argparse
import dataclasses
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from PIL import Image, ImageOps

from carsclf.analysis.calibration import expected_calibration_error
from carsclf.analysis.duplicates import unit_rows
from carsclf.analysis.label_errors import label_issues, wrong_and_sure
from carsclf.curation import twins
from carsclf.curation.findings import Library
from carsclf.curation.frozen import Backbone, FrozenFolds, features_of, make_backbone
from carsclf.curation.out_of_fold import OutOfFold, cross_predict, deal
from carsclf.curation.photos import measure
from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample
from carsclf.data.splits import shuffled
from carsclf.data.stanford_cars import stanford_cars
from carsclf.files import cache_root
from carsclf.training.configuration import training_part
from carsclf.training.finish import git_commit

ROOT = Path(__file__).parents[2]
COMMON = [
    *("data.split_seed=0", "data.image_size=96", "data.workers=0", "model.channels_last=true"),
    *("trainer.precision=32-true", "mode=freeze", "model=tf_efficientnet_lite0"),
]
CARS = ["data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"]
DATA = {
    "scenes": ["data=folder"],
    "audi and bmw": CARS,
    "cars": CARS,
    "cars, 288 px": [*CARS, "data.image_size=288"],
}


def two_makes(root: Path) -> list[str]:
    """The classes of two makes."""
    return [n for n in stanford_cars(root).class_names if n.split()[0] in ("Audi", "BMW")]


NOISE, FOLDS, COPIED = 0.05, 5, 100


def opened(name: str, root: Path, weights: Path) -> tuple[CarsDataModule, Backbone, dict[str, Any]]:
    own = [*DATA[name], f"data.root={root}", f"model.weights={weights}"]
    if name == "audi and bmw":
        own.append(f"data.classes={json.dumps(two_makes(root))}")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = training_part(compose("train", [*COMMON, *own]))
    data, _ = make_data(config)
    backbone = make_backbone(config, data, torch.device("cpu"))
    return data, backbone, features_of(backbone, data)


def flipped(targets: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Another class, drawn evenly, for NOISE of the labels."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(targets), round(NOISE * len(targets)), replace=False)
    noisy = targets.copy()
    noisy[chosen] = (targets[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return noisy


def labels(name: str, data: CarsDataModule, rows: dict[str, Any], seed: int) -> Iterator[dict]:
    samples = [s for split in ("train", "val") for s in data.splits[split]]
    x = torch.cat([rows[split] for split in ("train", "val")])
    right, names = np.array([s.target for s in samples]), data.class_names
    noisy = flipped(right, len(names), seed)
    given = [dataclasses.replace(s, target=int(t)) for s, t in zip(samples, noisy, strict=True)]
    folds = deal(given, FOLDS, seed)
    began = time.perf_counter()
    by = FrozenFolds(x=x, targets=noisy.tolist(), folds=folds, classes=len(names), backbone=None)  # type: ignore[arg-type]
    said = OutOfFold(cross_predict(given, names, folds, by.judge), folds)
    seconds = time.perf_counter() - began
    wrong = set(np.flatnonzero(noisy != right).tolist())
    plain, honest = said.predictions, said.calibrated()
    p, q = plain.probabilities, honest.predictions.probabilities
    own = q[np.arange(len(noisy)), noisy]
    rules = {
        "published, raw": wrong_and_sure(noisy, p, 0.9),
        "published, calibrated": wrong_and_sure(noisy, q, 0.9),
        **{f: label_issues(noisy, q, f) for f in ("prune_by_noise_rate", "both")},
        "least probable 5 %": np.argsort(own, kind="stable")[: len(wrong)],
    }
    for rule, found in rules.items():
        hits = len(wrong & set(found.tolist()))
        yield {
            "data": name, "seed": seed, "photos": len(noisy), "flipped": len(wrong),
            "top1": round(float((plain.predicted == right).mean()), 4), "rule": rule,
            "named": len(found), "hits": hits, "penalty": by.heads.penalty,
            "temperature": round(honest.said["temperature"], 3),
            "error_raw": round(expected_calibration_error(plain.right, p.max(1)), 4),
            "error": round(expected_calibration_error(plain.right, q.max(1)), 4),
            "seconds": round(seconds, 1),
        }  # fmt: skip


def saved(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=quality)
    return buffer.getvalue()


def kept(image: Image.Image, share: float) -> Image.Image:
    """The picture without its left and upper edges, and half as much of the others."""
    w, h = image.size
    left, top = (1 - share) * w * 2 / 3, (1 - share) * h * 2 / 3
    return image.crop((round(left), round(top), round(left + share * w), round(top + share * h)))


CHANGES = {
    "mirrored": lambda i: saved(ImageOps.mirror(i)),
    "half the size": lambda i: saved(i.resize((i.width // 2, i.height // 2))),
    "JPEG of quality 20": lambda i: saved(i, 20),
    "cropped to 85 % of each side": lambda i: saved(kept(i, 0.85)),
    "cropped to 70 % of each side": lambda i: saved(kept(i, 0.7)),
    "mirrored, cropped to 85 %, half the size": lambda i: saved(
        ImageOps.mirror(kept(i, 0.85)).resize((i.width // 2, i.height // 2))
    ),
}


def copies(data: CarsDataModule, backbone: Backbone, rows: dict[str, Any]) -> tuple[list, list]:
    """Rows of copies.csv and of pairs.csv: one library of all cars and the copies made of some."""
    samples = [s for part in data.splits.values() for s in part]
    splits = [name for name, part in data.splits.items() for _ in part]
    x = np.concatenate([rows[name].numpy() for name in data.splits])
    chosen = shuffled(samples, 0, "copies")[:COPIED]
    made: list[tuple[str, Sample, Sample]] = []
    with tempfile.TemporaryDirectory() as folder:
        for n, (change, save) in enumerate(CHANGES.items()):
            for sample in chosen:
                path = Path(folder) / f"{n}-{sample.path.name}"
                path.write_bytes(save(Image.open(sample.path).convert("RGB")))
                made.append((change, dataclasses.replace(sample, id=path.name, path=path), sample))
        new = [copy for _, copy, _ in made]
        more = torch.cat([
            backbone.rows(torch.stack([backbone.transform(read_picture(s)) for s in part]))
            for part in (new[i : i + 50] for i in range(0, len(new), 50))
        ])  # fmt: skip
        everything = [*samples, *new]
        measures = measure(everything, cache_root() / "curation" / "photos.parquet")
    library = Library(
        everything, [*splits, *["train"] * len(new)], data.class_names,
        unit_rows(np.concatenate([x, more.numpy()])), measures, None,  # type: ignore[arg-type]
    )  # fmt: skip
    began = time.perf_counter()
    compared = twins.compare(library, neighbours=8, cosine=0.85, bits=12, least=0.9)
    seconds = time.perf_counter() - began
    found = twins.near(library, compared, 0.9)
    pairs = {frozenset((row["id"], row["other"])) for row in found}
    results = [
        {"change": change, "copies": COPIED, "seconds": round(seconds, 1), "found": sum(
            frozenset((copy.id, whole.id)) in pairs for c, copy, whole in made if c == change)}
        for change in CHANGES
    ]  # fmt: skip
    names = {s.id for s in samples}
    own = [row for row in [*twins.exact(library), *found] if {row["id"], row["other"]} <= names]
    columns = ("kind", "id", "other", "class", "other_class", "split", "other_split", "score")
    return results, [{c: row[c] for c in columns} for row in own]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("cars", "scenes", "weights", "folder"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    commit = str(git_commit())[:7]

    def write(name: str, rows: list[dict]) -> None:
        pd.DataFrame(rows).assign(recorded_in=commit).to_csv(asked.folder / name, index=False)

    noisy: list[dict] = []
    for name in DATA:
        root = asked.scenes if name == "scenes" else asked.cars
        data, backbone, rows = opened(name, root, asked.weights)
        if name == "cars":
            results, own = copies(data, backbone, rows)
            write("copies.csv", results)
            write("pairs.csv", own)
        for seed in range(asked.seeds):
            noisy += labels(name, data, rows, seed)
            write("results.csv", noisy)


if __name__ == "__main__":
    main()
