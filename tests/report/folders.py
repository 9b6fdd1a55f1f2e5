"""Run and study folders made to order: what train.py, evaluate.py and tune.py would have left."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from carsclf.records import Predictions, Run, RunFolder
from carsclf.tuning.study.records import Finalist, StudyFolder, StudySummary

CLASSES = [
    "BMW M5 Sedan 2010",
    "BMW M5 Sedan 2012",
    "BMW M6 Convertible 2010",
    "Audi S4 Sedan 2007",
]
HE = {"optimizer.lr": 0.1, "optimizer.momentum": 0.9}
FOUND = {"optimizer.lr": 0.02, "optimizer.momentum": 0.6}


def config_of(mode: str, values: dict[str, float], **data: Any) -> dict[str, Any]:
    """A training's configuration, as far as a report reads it."""
    return {
        "data": {"name": "stanford_cars", "protocol": "published", "root": "/photos", **data},
        "model": {"name": "resnet18" if mode == "finetune" else "resnet50", "weights": "imagenet"},
        "mode": {"name": mode},
        "optimizer": {
            "_target_": "carsclf.training.optimizers.sgd",
            "lr": values["optimizer.lr"],
            "momentum": values["optimizer.momentum"],
        },
        "trainer": {"max_epochs": 35},
        "seed": 0,
        "reported": "last",
    }


def make_run(
    root: Path,
    mode: str = "finetune",
    *,
    accuracy: float = 0.5,
    hours: float = 1.0,
    values: dict[str, float] = HE,
    seed: int = 0,
    weights: str = "imagenet",
    protocol: str = "published",
    sizes: dict[str, int] | None = None,
    source: str = "stanford_cars",
) -> Path:
    """A run folder without predictions."""
    files = RunFolder(root)
    root.mkdir(parents=True)
    config = config_of(mode, values, protocol=protocol, name=source) | {"seed": seed}
    files.config.write_text(yaml.safe_dump(config))
    Run(
        model="resnet18" if mode == "finetune" else "resnet50",
        weights=weights,
        mode=mode,
        boundary=None,
        source=f"{source} (/photos)",
        protocol=protocol,
        split_sizes=sizes or {"train": 13_026, "val": 3_159},
        classes=196,
        seed=seed,
        device="1 x cuda NVIDIA K80",
        precision="32-true",
        versions={"torch": "2.6.0"},
        git_commit="0123456789abcdef",
        epochs=35,
        horizon=35,
        seconds=hours * 3600,
        images_trained=35 * 13_026,
        reported="last",
        reported_epoch=35,
        metrics={"val/top1": accuracy},
        finished=True,
    ).write(files.run)
    curve = accuracy * (1 - np.exp(-np.arange(1, 36) / 8))
    table = pd.DataFrame({"epoch": np.arange(1, 36), "val/top1": curve})
    table.to_csv(files.metrics, index=False)
    return root


def add_predictions(
    run: Path,
    hits: np.ndarray,
    names: list[str] = CLASSES,
    *,
    split: str = "val",
    photos: Path | None = None,
    seed: int = 0,
) -> Predictions:
    """Predictions of len(hits) photos, right where `hits` says so."""
    rng = np.random.default_rng(seed)
    k, n = len(names), len(hits)
    targets = np.arange(n) % k
    predicted = np.where(hits, targets, (targets + 1 + rng.integers(0, max(k - 1, 1), n)) % k)
    predicted = np.where(hits | (predicted != targets) | (k == 1), predicted, (targets + 1) % k)
    logits = rng.normal(0, 1, (n, k)).astype(np.float32)
    logits[np.arange(n), predicted] = logits.max(1) + rng.uniform(0.2, 4, n)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ids = [f"cars/{i:05}.jpg" for i in range(n)]
    root = photos or Path("/photos")
    paths = [str(root / id) for id in ids]
    made = Predictions(ids, paths, targets, shares, names)
    made.write(RunFolder(run).predictions(split))
    return made


def make_photos(root: Path, n: int) -> None:
    """Small pictures under the ids that `add_predictions` gives."""
    (root / "cars").mkdir(parents=True)
    for i in range(n):
        pixels = np.random.default_rng(i).integers(0, 255, (30, 48, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"cars/{i:05}.jpg")


def make_study(
    root: Path,
    mode: str = "finetune",
    *,
    best: float = 0.6,
    hours: float = 1.0,
    trials: int = 220,
    finished: bool = True,
    **summary: Any,
) -> Path:
    """A multitask study: trials of 0.1, 0.5 or 1 of a training of `hours`, run one by one.

    Trial 0 is the incumbent, trial 1 (or 0, if there is no other) the best; `add_final` adds more.
    """
    files = StudyFolder(root)
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    config = config_of(mode, HE)
    config["space"] = {"optimizer": {"lr": {"low": 1e-4, "high": 1.0, "log": True}}}
    files.config.write_text(yaml.safe_dump(config))
    overrides = [f"mode={mode}", "data.root=/photos"]
    events: list[dict[str, Any]] = [{"kind": "study", "overrides": overrides, "time": 0.0}]
    rows, curves, spent, clock = [], [], 0.0, 0.0
    first = min(1, trials - 1)
    for number in range(trials):
        length = 35 if number <= first else int(rng.choice([4, 18, 35], p=[0.6, 0.25, 0.15]))
        values = {0: HE, 1: FOUND}.get(number) or {
            "optimizer.lr": float(np.exp(rng.uniform(-9, 0))),
            "optimizer.momentum": float(rng.uniform(0, 0.9)),
        }
        top = best if number == first else best * float(rng.uniform(0.2, 0.97))
        events.append({"kind": "start", "trial": number, "epoch": 0, "time": clock})
        for epoch in range(1, length + 1):
            seconds = hours * 3600 / 35
            clock, spent = clock + seconds, spent + 1 / 35
            told = {"trial": number, "epoch": epoch, "seconds": seconds, "time": clock}
            events.append({"kind": "result", "metrics": {"score": 0.0}, **told})
            decision = "STOP" if epoch == length else "CONTINUE"
            events.append(
                {"kind": "decision", "trial": number, "decision": decision, "time": clock}
            )
            curves.append({**told, "val/top1": top * epoch / length, "spent": spent})
        rows.append(
            {
                "trial": number,
                "overrides": [f"{k}={v}" for k, v in values.items()] if number else [],
                "status": "finished" if finished else "failed",
                "epochs": length,
                "length": length,
                "cost": length / 35,
                "best": top,
                "seconds": length / 35 * hours * 3600,
                "failures": 0,
                "error": None,
                "folder": f"trials/{number:04}",
                "role": "search" if number else "incumbent",
                "ended": "full length" if length == 35 else "its length",
                **{f"values.{k}": v for k, v in values.items()},
            }
        )
    files.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    pd.DataFrame(rows).to_parquet(files.trials)
    pd.DataFrame(curves).to_parquet(files.curves)
    files.best.write_text(yaml.safe_dump([*overrides, *rows[first]["overrides"]]))
    made: dict[str, Any] = {
        "name": root.name,
        "search": "multitask",
        "metric": "val/top1",
        "mode": "max",
        "horizon": 35,
        "shortened": "complete",
        "budget": 220,
        "spent": spent,
        "seconds": clock,
        "trials": trials,
        "statuses": {"finished" if finished else "failed": trials},
        "finished": True,
        "best_trial": first if finished else None,
        "best": best if finished else None,
        "best_epochs": 35 if finished else None,
        "winner": first if finished else None,
        "verdict": "no final: the best score of single trainings, which flatters (search.final=0)",
    }
    StudySummary(**made | summary).write(files.summary)
    return root


def add_final(
    study: Path,
    hits: dict[int, list[dict[str, np.ndarray]]],
    compared: dict[int, tuple[float, float, float, float]],
    *,
    winner: int,
    verdict: str,
    hours: float = 1.0,
) -> Path:
    """The final of a study: for each trial a run per seed, its hits by split; run one by one.

    compared: difference, low, high and probability of those compared with the incumbent.
    """
    files = StudyFolder(study)
    summary = json.loads(files.summary.read_text())
    trials = pd.read_parquet(files.trials).set_index("trial")
    config = yaml.safe_load(files.config.read_text())
    curves, events, entries = [pd.read_parquet(files.curves)], [], []
    number, clock, spent = len(trials), summary["seconds"], summary["spent"]
    for trial, seeds in hits.items():
        row = trials.loc[trial]
        values = {k: float(row[f"values.{k}"]) for k in HE}  # type: ignore[arg-type]
        folders = [f"final/{trial:04d}-seed{k}" for k in range(1, len(seeds) + 1)]
        for seed, (folder, splits) in enumerate(zip(folders, seeds, strict=True), 1):
            run = make_run(
                study / folder,
                config["mode"]["name"],
                accuracy=float(splits["val"].mean()),
                hours=hours,
                values=values,
                seed=seed,
                sizes={split: len(right) for split, right in splits.items()},
            )
            for split, right in splits.items():
                add_predictions(run, right, split=split, seed=seed)
            told = {"trial": number, "role": "final", "repeats": trial, "seed": seed}
            events += [{"kind": "suggest", **told, "time": clock}]
            events += [{"kind": "start", "trial": number, "epoch": 0, "time": clock}]
            clock, spent = clock + hours * 3600, spent + 1
            said = {"trial": number, "epoch": 35, "seconds": hours * 3600, "time": clock}
            events += [{"kind": "result", "metrics": {"score": 0.0}, **said}]
            events += [{"kind": "decision", "trial": number, "decision": "STOP", "time": clock}]
            told = {**said, "val/top1": float(splits["val"].mean()), "spent": spent}
            curves.append(pd.DataFrame([told]))
            number += 1
        scores = [float(splits["val"].mean()) for splits in seeds]
        entry = Finalist(trial, str(row["role"]), scores, float(np.mean(scores)), folders)
        names = ("difference", "low", "high", "probability")
        entries.append(vars(entry) | dict(zip(names, compared.get(trial, ()), strict=False)))
    with files.events.open("a") as journal:
        journal.writelines(json.dumps(event) + "\n" for event in events)
    pd.concat(curves, ignore_index=True).to_parquet(files.curves)
    told = {"winner": winner, "verdict": verdict, "final": entries}
    files.summary.write_text(json.dumps(summary | told | {"seconds": clock, "spent": spent}))
    return study
