"""How well is a car of no known class told from the known ones? See README.md.

    python -m experiments.unknown.measure <cars> <weights> <out.csv> [--draws 0 1]

Twenty classes of a draw are held out of a training (`data.classes`), frozen and fine-tuned; all
their photos are "none of these", the run's test photos are the known ones. Runs that lie beside
the results are not trained again.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from carsclf.data.samples import Sample
from carsclf.data.stanford_cars import stanford_cars
from carsclf.inference.bank import drawn
from carsclf.inference.openness import Scale, distance, doubt, normalised
from carsclf.inference.split import How, OpenRun, open_run
from carsclf.records import Run, RunFolder
from experiments.measuring import SHORTCUT, Rows, commit_of, parser_of, used_by

HELD_OUT = 20
PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
    *("data.split_seed=0", "data.workers=0", "model=tf_efficientnet_lite0"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
WAYS = {"freeze": ["mode=freeze", "data.image_size=96"], "finetune": SHORTCUT}
NEIGHBOURS = (1, 2, 5, 10, 20, 50)
COLUMNS: Sequence[str] = (
    "way",
    "draw",
    "test_top1",
    "known",
    "unknown",
    "score",
    "auroc",
    "found",
    "recorded_in",
)


def names_of(cars: Path, draw: int) -> tuple[list[str], list[str]]:
    """Names of the classes that are known, and of those held out."""
    names = stanford_cars(cars).class_names
    chosen = np.random.default_rng(draw).choice(len(names), HELD_OUT, replace=False)
    held = {names[i] for i in chosen}
    return [name for name in names if name not in held], [n for n in names if n in held]


def train(way: str, folder: Path, given: Sequence[str], known: Sequence[str]) -> None:
    """The run, unless it lies there finished."""
    if RunFolder(folder).card.is_file():
        return
    overrides = folder.with_suffix(".yaml")
    overrides.parent.mkdir(parents=True, exist_ok=True)
    listed = ",".join(f'"{name}"' for name in known)
    overrides.write_text(yaml.safe_dump([f"data.classes=[{listed}]"], width=100_000))
    own = [f"runs={folder.parent}", f"name={folder.name}"]
    used_by("train.py", f"overrides={overrides}", *PROTOCOL, *WAYS[way], *given, *own)


def look(run: OpenRun, samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and logits."""
    said = [run.model.see(batch["pictures"]) for batch in run.data.loader_of(samples)]
    features, logits = (np.concatenate(part) for part in zip(*said, strict=True))
    return features, logits


def measure(
    way: str, draw: int, folder: Path, cars: Path, held: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row per score: its AUROC, and the share of unknown ones beyond 95 % of validation's."""
    run = open_run(folder, How("test", workers=0))
    source = stanford_cars(cars)
    others = [s for s in source.samples if source.class_names[s.target] in set(held)]
    train, _ = look(run, drawn(run.data.splits["train"]))
    val, val_logits = look(run, run.data.splits["val"])
    known, known_logits = look(run, run.data.splits["test"])
    unknown, unknown_logits = look(run, others)
    targets = np.array([sample.target for sample in run.data.splits["test"]])
    bank = normalised(train).astype(np.float16)
    parts = (val, val_logits), (known, known_logits), (unknown, unknown_logits)
    scores: dict[str, list[np.ndarray]] = {
        "largest probability": [doubt(logits) for _, logits in parts],
        "energy": [-np.asarray(logsumexp(logits, axis=1)) for _, logits in parts],
    }
    single = list(scores)
    for k in NEIGHBOURS:
        scores[f"distance, k = {k}"] = [distance(rows, bank, k) for rows, _ in parts]
        for other in single:
            both = scores[f"distance, k = {k}"], scores[other]
            scales = [Scale.of(of_val) for of_val, *_ in both]
            scores[f"distance, k = {k}, and {other}"] = [
                scales[0].surprise(far) + scales[1].surprise(second)
                for far, second in zip(*both, strict=True)
            ]
    for name, (of_val, of_known, of_unknown) in scores.items():
        truth = np.repeat([0, 1], [len(of_known), len(of_unknown)])
        yield {
            "way": way,
            "draw": draw,
            "test_top1": round(float((known_logits.argmax(1) == targets).mean()), 4),
            "known": len(of_known),
            "unknown": len(of_unknown),
            "score": name,
            "auroc": round(float(roc_auc_score(truth, np.append(of_known, of_unknown))), 4),
            "found": round(float((of_unknown > np.quantile(of_val, 0.95)).mean()), 4),
            "recorded_in": commit_of(Run.read(RunFolder(folder).run)),
        }


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1])
    asked = parser.parse_args()
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    rows = Rows(asked.out, COLUMNS, 2)
    for way, draw in product(asked.ways, asked.draws):
        if not rows.has(way, draw):
            known, held = names_of(asked.cars, draw)
            folder = asked.out.parent / "runs" / f"{way}-{draw}"
            train(way, folder, given, known)
            rows.add(*measure(way, draw, folder, asked.cars, held))


if __name__ == "__main__":
    main()
