"""What an augmentation that is searched together with the training adds: see README.md.

    python -m experiments.augmentation_search.measure <cars> <weights> <out.csv> [--seeds 1 2 3]

<weights> is a folder with the files of ImageNet weights. Two studies first, of the training alone
and of both together, which see validation only; then what they found, and our defaults, are
trained anew and judged once on test: with the network and photos of the search, with other
networks, and with twice the photos. One thread a training, two at a time. Rows that are there are
not made again, and a study goes on where it was killed.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from carsclf.analysis.changes import by_class, by_kind
from carsclf.analysis.ensembles import align
from carsclf.records import Predictions, Run, RunFolder
from carsclf.tuning.study.records import StudyFolder, StudySummary
from experiments.measuring import (
    SHORTCUT,
    Row,
    Rows,
    commit_of,
    parser_of,
    tested,
    trained,
    used_by,
)

PROTOCOL = [
    *SHORTCUT,
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
    *("data.split_seed=0", "data.image_size=96", "data.workers=0"),
    *("model.channels_last=true", "trainer.precision=32-true", "trainer.accelerator=cpu"),
]
SEARCH = ["search.budget=10", "search.final=0.3", "search.seed=0", "resources.workers=2"]
SPACES = {
    "training": ["space=modern", "~space.augmentation"],
    "both": ["space=[modern,augmentation]", "augmentation=recoloured"],
}
HALF = "data.fraction=0.5"
SETTINGS = {  # the first is that of the searches
    "Lite0": ["tf_efficientnet_lite0", HALF],
    "Lite2": ["tf_efficientnet_lite2", HALF],
    "MobileNetV2": ["mobilenetv2_100", HALF],
    "Lite0, twice the photos": ["tf_efficientnet_lite0", "data.fraction=1"],
}
PLAIN, FOUND = "ours, none", "ours, the colours found"
WAYS = (
    *("ours", PLAIN, "ours, rand", FOUND),
    *("training searched", "training searched, the colours found", "both searched"),
)
ELSEWHERE = ("ours", FOUND)
COLUMNS = ("setting", "way", "seed", "val_top1", "test_top1", "cpu_seconds", "recorded_in")


def search(space: str, studies: Path, given: list[str]) -> list[str]:
    """Of the study's winner what was searched, as overrides; the study is made if need be."""
    folder = StudyFolder(studies / space)
    if not folder.best.is_file():
        told = [f"resume={folder.root}"] if folder.events.is_file() else [
            *PROTOCOL, HALF, *SPACES[space], *SEARCH, *given,
            f"runs={studies}", f"name={space}",
        ]  # fmt: skip
        used_by("tune.py", *told)
    best = yaml.safe_load(folder.best.read_text())
    groups = ("optimizer", "schedule", "augmentation", "data.batch_size", "mode.label_smoothing")
    return [override for override in best if override.startswith(groups)]


def of_study(folder: StudyFolder, space: str) -> list[Row]:
    """What its final says of what it began with, and of the best that it found."""
    study = StudySummary.read(folder.summary)
    trials = pd.read_parquet(folder.trials).set_index("trial")
    first = Run.read(RunFolder(folder.root / study.final[0]["folders"][0]).run)
    return [
        {
            "space": space,
            "role": one["role"],
            "best_val_top1": round(trials.loc[one["trial"], "best"], 4),
            "final_val_top1": round(one["mean"], 4),
            **{k: one[k] and round(one[k], 4) for k in ("difference", "low", "high")},
            "won": one["trial"] == study.winner,
            "trials": study.trials,
            "trainings": study.spent,
            "seconds": round(study.seconds),
            "overrides": " ".join(trials.loc[one["trial"], "overrides"]),
            "recorded_in": commit_of(first),
        }
        for one in study.final
    ]


def ways(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is trained: our defaults with other augmentations, and what the searches found."""
    colours = [o for o in found["both"] if o.startswith("augmentation")]
    ours = [[], ["augmentation=none", "mode.views=1"], ["augmentation=rand"], colours]
    training = found["training"]
    of = [*ours, training, [*training, *colours], found["both"]]
    return dict(zip(WAYS, of, strict=True))


def changes(runs: Path, seeds: list[int], out: Path) -> None:
    """Errors by kind and accuracy by class, before and after, all seeds together."""
    runs_of = [RunFolder(runs / name_of("Lite0", w, s)) for w in (PLAIN, FOUND) for s in seeds]
    said = align({str(run.root): Predictions.read(run.predictions("test")) for run in runs_of})
    targets = np.concatenate([one.targets for one in said[: len(seeds)]])
    first, second = np.concatenate([one.predicted for one in said]).reshape(2, -1)
    for what, of in (("kinds", by_kind), ("classes", by_class)):
        table = of(targets, first, second, said[0].class_names)
        assert table is not None
        table.round(4).to_csv(out.with_name(f"{what}.csv"), index=False)


def name_of(setting: str, way: str, seed: int) -> str:
    return f"{setting}-{way}-{seed}".replace(", ", "-").replace(" ", "_")


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out", seeds=(1, 2, 3))
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    given = [f"data.root={asked.cars}"]
    runs, studies = (asked.out.parent / name for name in ("runs", "studies"))

    def network(setting: str) -> list[str]:
        name = SETTINGS[setting][0]
        return [f"model={name}", f"model.weights={asked.weights / name}.timm.safetensors"]

    found = {space: search(space, studies, [*given, *network("Lite0")]) for space in SPACES}
    rows = [row for s in SPACES for row in of_study(StudyFolder(studies / s), s)]
    pd.DataFrame(rows).to_csv(asked.out.with_name("studies.csv"), index=False)
    trains = ways(found)

    def one(setting: str, way: str, seed: int) -> Row:
        folder = runs / name_of(setting, way, seed)
        told = [*PROTOCOL, SETTINGS[setting][1], *given, *network(setting), *trains[way]]
        run, used = trained(folder, *told, f"seed={seed}", "look=false")
        return {
            "setting": setting,
            "way": way,
            "seed": seed,
            "val_top1": round(run.metrics["val/top1"], 4),
            "test_top1": round(tested(folder)[0], 4),
            "cpu_seconds": round(used.cpu),
            "recorded_in": commit_of(run),
        }

    every = product(SETTINGS, asked.seeds, WAYS)
    keys = ((e, w, s) for e, s, w in every if e == "Lite0" or w in ELSEWHERE)
    Rows(asked.out, COLUMNS, 3).fill(keys, one, asked.jobs)
    changes(runs, asked.seeds, asked.out)


if __name__ == "__main__":
    main()
