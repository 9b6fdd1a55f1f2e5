"""Ways to train a linear head on frozen features, side by side: see README.md.

    python experiments/frozen_head/compare.py features <out.npz> <overrides of train.py>
    python experiments/frozen_head/compare.py heads <out.csv> <data>-<network>.npz ...
    python experiments/frozen_head/compare.py few <out.csv> <data>-<network>.npz ...

`features` keeps the features of all photos of a data set; `heads` trains every way on them, for
each seed, with the project's own optimizers and schedules, and adds a row per training; `few` does
so for a tenth and three tenths of the training photos, by L-BFGS with several decays.
"""

import csv
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import nn
from torch.optim import LBFGS, Optimizer

from carsclf.data.samples import Sample, Source
from carsclf.data.splits import split
from carsclf.features.steps import gradients_of, train_on_chunk
from carsclf.models.heads import Head
from carsclf.training.optimizers import adamw, lbfgs, sgd
from carsclf.training.schedules import Schedule, constant, one_cycle

EPOCHS, BATCH, SEEDS = 12, 32, (1, 2, 3)
CONF = Path(__file__).parents[2] / "conf"
Ways = dict[str, tuple[str, Callable[[Any], Optimizer]]]  # scale of the features, and optimizer


def features(out: str, overrides: list[str]) -> None:
    """Pooled features of all photos, in evaluation mode, in half precision."""
    from hydra import compose, initialize_config_dir

    from carsclf.data.build import make_data
    from carsclf.models.networks import build_network, normalisation
    from carsclf.models.pixels import Normalise

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides)
    data, _ = make_data(config)
    network, _ = build_network(
        config.model.name, num_classes=1, weights=config.model.weights, seed=0
    )
    network.reset_classifier(0)  # type: ignore[operator]
    network.eval()
    normalise = Normalise(*normalisation(network))
    samples = [sample for part in data.splits.values() for sample in part]
    with torch.inference_mode():
        rows = [network(normalise(batch["pictures"])) for batch in data.loader_of(samples)]
    np.savez(
        out,
        x=torch.cat(rows).half().numpy(),
        y=np.array([sample.target for sample in samples]),
        ids=np.array([sample.id for sample in samples]),
    )


def a(lr: float, decay: float = 0.01) -> Callable[[Any], Optimizer]:
    return lambda head: adamw([], head, lr=lr, head_lr_factor=1.0, weight_decay=decay)


def s(lr: float, decay: float = 1e-3) -> Callable[[Any], Optimizer]:
    rates = {"head_lr_factor": 1.0, "momentum": 0.9, "nesterov": True}
    return lambda head: sgd([], head, lr=lr, weight_decay=decay, **rates)


def b(decay: float) -> Callable[[Any], Optimizer]:
    return lambda head: lbfgs([], head, weight_decay=decay)


WAYS: Ways = {
    "L-BFGS, decay 1e-4": ("raw", b(1e-4)),
    "L-BFGS, decay 3e-4": ("raw", b(3e-4)),
    "L-BFGS, decay 1e-3": ("raw", b(1e-3)),
    "L-BFGS, decay 3e-3": ("raw", b(3e-3)),
    "AdamW, one-cycle, rate 2e-3": ("raw", a(2e-3)),
    "AdamW, one-cycle, rate 5e-3": ("raw", a(5e-3)),
    "AdamW, one-cycle, rate 1e-2": ("raw", a(1e-2)),
    "AdamW, one-cycle, rate 1e-3": ("standardised", a(1e-3)),
    "SGD, one-cycle, rate 0.1": ("raw", s(0.1)),
    "SGD, one-cycle, rate 0.01": ("standardised", s(0.01)),
}


FEW: Ways = {f"L-BFGS, decay {name}": ("raw", b(float(name))) for name in
             ("1e-4", "3e-4", "1e-3", "3e-3", "1e-2")}  # fmt: skip


def standardised(x: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    """Each feature with mean 0 and deviation 1 over the training photos."""
    return (x - x[train].mean(0)) / (x[train].std(0) + 1e-6)


def cycle(optimizer: Optimizer, epochs: int, steps: int) -> Schedule:
    return one_cycle(optimizer, epochs, steps, warmup_share=0.3, momentum=True)


def train(
    x: torch.Tensor,
    y: torch.Tensor,
    parts: dict[str, torch.Tensor],
    make: Callable[[Any], Optimizer],
    seed: int,
) -> list[dict[str, float]]:
    """Accuracy (%) on validation and test, and the validation loss, after each epoch."""
    torch.manual_seed(seed)
    network = nn.Sequential()
    network.fc = nn.Linear(x.shape[1], int(y.max()) + 1)
    head, loss = Head(network, ("fc",)), nn.CrossEntropyLoss()
    optimizer, n = make(list(head.parameters())), len(parts["train"])
    whole = isinstance(optimizer, LBFGS)
    size = n if whole else BATCH
    schedule = (constant if whole else cycle)(optimizer, EPOCHS, n // size)
    gradients, rows = gradients_of(head, loss), []
    for _ in range(EPOCHS):
        order = parts["train"][torch.randperm(n)[: n // size * size]]
        train_on_chunk(
            gradients, loss, optimizer, x[order], y[order],
            batch_size=size, after_step=schedule.after_step,
        )  # fmt: skip
        with torch.no_grad():
            said = {name: head(x[parts[name]]) for name in ("val", "test")}
        right = {name: (said[name].argmax(1) == y[parts[name]]).float().mean() for name in said}
        row = {name: 100 * float(share) for name, share in right.items()}
        rows.append(row | {"loss": float(loss(said["val"], y[parts["val"]]))})
    return rows


def result(rows: list[dict[str, float]]) -> dict[str, float]:
    """The epoch that is best on validation, and how the curve went."""
    val = [row["val"] for row in rows]
    best = int(np.argmax(val))
    return {
        "val": val[best],
        "test": rows[best]["test"],
        "best_epoch": best + 1,
        "last_val": val[-1],
        "last_val_loss": rows[-1]["loss"],
        "deepest_fall": max(max(val[: i + 1]) - v for i, v in enumerate(val)),
    }


def parts_of(
    ids: list[str], y: torch.Tensor, seed: int, fraction: float
) -> dict[str, torch.Tensor]:
    """Rows of each split, by the project's protocol `fractions`: 20 % of each label, twice."""
    samples = [Sample(name, Path(name), int(t)) for name, t in zip(ids, y, strict=True)]
    names = [str(i) for i in range(int(y.max()) + 1)]
    source = Source("kept features", Path(), names, samples)
    splits = split(
        source, "fractions", seed=seed, val_fraction=0.2, test_fraction=0.2, fraction=fraction
    )
    place = {sample.id: i for i, sample in enumerate(samples)}
    return {name: torch.tensor([place[s.id] for s in part]) for name, part in splits.items()}


def heads(file: TextIO, kept: Path, seed: int, fraction: float, ways: Ways) -> None:
    """A row for each way to train a head on the features of one file."""
    data, network = kept.stem.split("-", 1)
    arrays = np.load(kept)
    x, y = torch.from_numpy(arrays["x"]).float(), torch.from_numpy(arrays["y"]).long()
    parts = parts_of(arrays["ids"].tolist(), y, seed, fraction)
    for way, (scale, make) in ways.items():
        rows = x if scale == "raw" else standardised(x, parts["train"])
        began = time.perf_counter()
        done = result(train(rows, y, parts, make, seed))
        row: dict[str, Any] = {"data": data, "network": network, "seed": seed}
        row |= {"fraction": fraction, "photos": len(parts["train"])}
        row |= {"way": way, "features": scale}
        row |= {name: round(value, 4) for name, value in done.items()}
        row["seconds"] = round(time.perf_counter() - began, 1)
        writer = csv.DictWriter(file, list(row))
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)
        file.flush()


def main() -> None:
    torch.set_num_threads(1)
    what, out, *rest = sys.argv[1:]
    if what == "features":
        features(out, rest)
        return
    few = what == "few"
    with Path(out).open("a") as file:
        for seed in SEEDS:
            for kept, fraction in product(map(Path, rest), (0.1, 0.3) if few else (1.0,)):
                heads(file, kept, seed, fraction, FEW if few else WAYS)


if __name__ == "__main__":
    main()
