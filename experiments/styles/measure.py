"""How well classifiers know photos in other styles: see README.md.

    python -m experiments.styles.measure <cars> <weights> <out.csv> [--seeds 0] [--photos 120]

Photos of the test split are stylised below runs/ beside the table, once in each style and once at
strength 0, which shows what the decoder alone costs; then each classifier that is asked for is
trained, unless its run is there, and asked. Folders that are there are used again.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import bootstrap_difference, wilson
from carsclf.errors import DataError
from carsclf.inference.predict import TrainedModel, load_model
from carsclf.records import Run, RunFolder
from experiments.measuring import commit_of, parser_of, used_by

DATA = [
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
    *("data.split_seed=0", "data.workers=0", "data.image_size=96"),
]
TRAINING = [
    *("model=tf_efficientnet_lite0", "trainer.precision=32-true"),
    *("model.channels_last=true", "look=false"),
]
WAYS = {
    "freeze": ["mode=freeze", "trainer.max_epochs=6"],
    "finetune": ["mode=finetune", "trainer.max_epochs=8"],
}
PLAIN, BACK = "original", "strength 0"


def stylised(runs: Path, given: list[str], photos: int) -> tuple[Path, Path]:
    """The folders of all styles, and of the decoder's reconstructions."""
    styles, back = runs / "styles", runs / "strength-0"
    own = ["split=test", f"photos={photos}", "steps=500", *DATA, *given]
    used_by("stylize.py", *own, f"out={styles}", "per_image=6")
    kept = f"decoder={styles / 'decoder.safetensors'}"
    used_by("stylize.py", *own, f"out={back}", "strength=0", kept)
    return styles, back


def pictures(cars: Path, styles: Path, back: Path) -> pd.DataFrame:
    """A row for each picture: its file, style, photo and class."""
    rows: list[dict[str, Any]] = []
    for folder in (styles, back):
        record = json.loads((folder / "synthetic.json").read_text())
        for name, id in record["sources"].items():
            style = record["styles"][name] if folder == styles else BACK
            label = name.rpartition("/")[0]
            rows.append({"file": folder / name, "style": style, "photo": id, "class": label})
            if folder == back:
                rows.append({"file": cars / id, "style": PLAIN, "photo": id, "class": label})
    return pd.DataFrame(rows).sort_values(["style", "photo"])


def hits(model: TrainedModel, table: Any) -> list[bool]:
    right = []
    for found, label in zip(model.stream(list(table["file"])), table["class"], strict=True):
        if isinstance(found, DataError):
            raise found
        right.append(found.predicted == label)
    return right


def rows_of(way: str, seed: int, folder: Path, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Accuracy in each style, and its distance from the same photos' own, with 95 % intervals."""
    answered: Any = table.assign(right=hits(load_model(folder), table))
    own = answered[answered["style"] == PLAIN]["right"].to_numpy()
    commit = commit_of(Run.read(RunFolder(folder).run))
    rows = []
    for style, part in answered.groupby("style", sort=False):
        share = wilson(int(part["right"].sum()), len(part))
        loss = bootstrap_difference(own, part["right"].to_numpy())
        values = [*(share.value, share.low, share.high), *(loss.value, loss.low, loss.high)]
        rows.append({
            "way": way, "seed": seed, "style": style, "photos": len(part),
            **dict(zip(COLUMNS[4:10], np.round(values, 4), strict=True)), "recorded_in": commit,
        })  # fmt: skip
    return rows


COLUMNS = (
    *("way", "seed", "style", "photos", "top1", "low", "high"),
    *("difference", "difference_low", "difference_high", "recorded_in"),
)


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out", seeds=[0])
    parser.add_argument("--photos", type=int, default=120)
    asked = parser.parse_args()
    runs = asked.out.parent / "runs"
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    table = pictures(asked.cars, *stylised(runs, given, asked.photos))
    rows: list[dict[str, Any]] = []
    for way, own in WAYS.items():
        for seed in asked.seeds:
            folder = runs / f"{way}-{seed}"
            if not RunFolder(folder).weights.is_file():
                named = [f"seed={seed}", f"runs={runs}", f"name={folder.name}"]
                used_by("train.py", *DATA, *TRAINING, *given, *own, *named)
            rows += rows_of(way, seed, folder, table)
            pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(asked.out, index=False)


if __name__ == "__main__":
    main()
