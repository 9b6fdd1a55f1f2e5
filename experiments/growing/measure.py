"""What it costs to add classes to a classifier: see README.md.

    python -m experiments.growing.measure <cars> <weights> <folder> [frozen] [rows] [finetune]

frozen: a class is added to a frozen classifier of the 195 others, by `train.py` in a process whose
processor time the system tells. rows: twenty classes are added to 176, and nothing is trained.
finetune: five to 44, until the accuracy of the old ones is back. Rows that are there are not made
again; the runs lie beside them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.stanford_cars import stanford_cars
from carsclf.inference.predict import predict
from carsclf.models.networks import create, normalisation
from carsclf.models.pixels import Normalise
from carsclf.options.command_line import quoted
from carsclf.records import Predictions, RunFolder
from carsclf.training.build import make_network
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.configuration import training_part
from carsclf.training.finish import git_commit
from carsclf.training.growing import place_new_rows
from carsclf.training.run import fit
from experiments.measuring import ROOT, Row, Rows, parser_of, used_by

PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2", "look=false"),
    *("data.split_seed=0", "data.workers=0", "model=tf_efficientnet_lite0"),
    *("model.channels_last=true", "trainer.precision=32-true"),
]
FROZEN = [*PROTOCOL, "mode=freeze", "data.image_size=96"]
ADDED = ["model.head=keep", "trainer.max_epochs=2"]  # the head begins where it nearly ends
TUNED = [*PROTOCOL, "mode=finetune", "data.image_size=128"]
CONSTANT = ["schedule=constant", "optimizer.lr=0.0005", "optimizer.head_lr_factor=5"]
KEPT = {
    "random head": ["model.head=random"],
    "known rows, new at random": ["model.head=keep"],
    "known rows, new at their means": ["model.head=keep", "model.new_rows=mean"],
}
LEFT_OUT = (97, 195)  # places in the list of names of the class that is added last
TWENTY = range(4, 196, 10)  # every tenth: makes and kinds of all sorts
FIVE = range(4, 49, 10)
HORIZON = 8
FROZEN_COLUMNS = (
    *("class", "from_nothing_cpu_seconds", "cpu_seconds", "wall_seconds"),
    *("old_before", "old_after", "new_after", "recorded_in"),
)
TUNED_COLUMNS = (
    *("way", "goal", "old_at_first", "old_after_1", "epochs_until_back"),
    *("old_at_last", "new_at_last", "epochs", "recorded_in"),
)


def classes_of(cars: Path, without: Sequence[int], of: int = 196) -> str:
    names = stanford_cars(cars).class_names[:of]
    kept = [quoted(name) for place, name in enumerate(names) if place not in without]
    return f"data.classes=[{','.join(kept)}]"


def shares(said: Predictions, new: set[str]) -> tuple[float, float]:
    """Top-1 of the photos of old classes and of new ones, in percent."""
    is_new = np.array([said.class_names[target] in new for target in said.targets])
    parts = (said.right[~is_new], said.right[is_new])
    return tuple(round(100 * float(part.mean()), 2) if len(part) else 0.0 for part in parts)  # type: ignore[return-value]


def frozen(cars: Path, weights: Path, out: Path) -> None:
    """One class more, from the command line to the run folder's end; on validation."""
    names, runs = stanford_cars(cars).class_names, out / "runs"
    table = Rows(out / "frozen.csv", FROZEN_COLUMNS, 1)
    for place in LEFT_OUT:
        new = names[place]
        if table.has(new):
            continue
        folders = [runs / f"frozen-{place}-{what}" for what in ("before", "after")]
        own = [[f"data.root={cars}", f"runs={runs}", f"name={f.name}"] for f in folders]
        base = [f"model.weights={weights}", classes_of(cars, [place])]
        first = used_by("train.py", *FROZEN, *base, *own[0])
        used = used_by("train.py", *FROZEN, f"model.weights={folders[0]}", *ADDED, *own[1])
        parts = []
        for folder in folders:
            parts += shares(Predictions.read(RunFolder(folder).predictions("val")), {new})
        row = {
            "class": new,
            "from_nothing_cpu_seconds": round(first.cpu, 1),
            "cpu_seconds": round(used.cpu, 1),
            "wall_seconds": round(used.wall, 1),
            "old_before": parts[0],
            "old_after": parts[2],
            "new_after": parts[3],
        }
        table.add(row | now())


def rows(cars: Path, weights: Path, out: Path) -> None:
    """Twenty classes more in a head that nothing has trained yet, on validation."""
    names, runs = stanford_cars(cars).class_names, out / "runs"
    before = runs / "frozen-176"
    if not RunFolder(before).card.is_file():
        base = [f"model.weights={weights}", classes_of(cars, TWENTY), f"data.root={cars}"]
        base.append("trainer.max_epochs=5")  # from where on its validation stays as it is
        used_by("train.py", *FROZEN, *base, f"runs={runs}", f"name={before.name}")
    old, _ = shares(Predictions.read(RunFolder(before).predictions("val")), set())
    table = Rows(out / "rows.csv", ("head", "old", "new", "recorded_in"), 1)
    if not table.has(first := "before, of 176 classes"):
        table.add({"head": first, "old": old, "new": 0.0, **now()})
    for way, own in KEPT.items():
        if table.has(way):
            continue
        config = composed([*FROZEN, *own, f"data.root={cars}", f"model.weights={before}"])
        pictures, _ = make_data(config)
        said = judged(begun(config, pictures), pictures)
        old, new = shares(said, {names[place] for place in TWENTY})
        table.add({"head": way, "old": old, "new": new, **now()})


def finetune(cars: Path, weights: Path, out: Path) -> None:
    """Five classes more, all weights training, until the old accuracy is back; on validation."""
    names, runs = stanford_cars(cars).class_names, out / "runs"
    new, every = {names[place] for place in FIVE}, classes_of(cars, [], 49)
    given = [f"data.root={cars}", f"trainer.max_epochs={HORIZON}"]
    before = runs / "tuned-44"
    if not RunFolder(before).card.is_file():
        base = [f"model.weights={weights}", classes_of(cars, FIVE, 49)]
        fit(composed([*TUNED, *given, *base]), before, resume=True)
    goal, _ = shares(Predictions.read(RunFolder(before).predictions("val")), set())
    ways = {way: [*own, *CONSTANT, f"model.weights={before}"] for way, own in KEPT.items()}
    ways["from ImageNet's weights"] = [f"model.weights={weights}"]
    table = Rows(out / "results.csv", TUNED_COLUMNS, 1)
    curves = Rows(out / "curves.csv", ("way", "epoch", "old", "new", "recorded_in"), 2)
    for way, own in ways.items():
        if table.has(way):
            continue
        config = composed([*TUNED, *given, every, *own])
        curve: list[tuple[float, float]] = []
        stop = watching(config, new, curve, goal if way in KEPT else None)
        run = fit(config, runs / f"tuned-{'-'.join(way.replace(',', '').split())}", on_epoch=stop)
        back = next((epoch for epoch, (old, _) in enumerate(curve) if old >= goal), None)
        row = {
            "way": way,
            "goal": goal,
            "old_at_first": curve[0][0],
            "old_after_1": curve[1][0],
            "epochs_until_back": back or f"not in {len(curve) - 1}",
            "old_at_last": curve[-1][0],
            "new_at_last": curve[-1][1],
            "epochs": run.epochs,
        }
        table.add(row | now())
        points = enumerate(curve)
        curves.add(*({"way": way, "epoch": e, "old": o, "new": n, **now()} for e, (o, n) in points))


def watching(
    config: DictConfig, new: set[str], curve: list[tuple[float, float]], goal: float | None
) -> Callable[..., bool]:
    """An `on_epoch` that keeps the curve, from before the first, and stops at the goal."""
    pictures, _ = make_data(config)
    curve.append(shares(judged(begun(config, pictures), pictures), new))

    def after(epoch: int, metrics: object, seconds: float, checkpoint: Path) -> bool:
        state = read_checkpoint(checkpoint)["state_dict"]
        network = create(config.model.name, num_classes=len(pictures.class_names))
        network.load_state_dict(
            {k.removeprefix("rest."): v for k, v in state.items() if k.startswith("rest.")}
        )
        curve.append(shares(judged(network, pictures), new))
        print(epoch, curve[-1], goal, flush=True)
        return goal is None or curve[-1][0] < goal

    return after


def begun(config: DictConfig, pictures: CarsDataModule) -> nn.Module:
    """The network as a training begins with it."""
    network, weights = make_network(config, len(pictures.class_names), pictures.class_names)
    place_new_rows(config, network, weights.rows, pictures, torch.device("cpu"))
    return network


def judged(network: nn.Module, pictures: CarsDataModule) -> Predictions:
    """What a network says of the validation photos."""
    network, normalise = network.eval(), Normalise(*normalisation(network))
    samples = pictures.splits["val"]

    def forward(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return network(normalise(batch["pictures"]))

    return predict(forward, pictures.loader_of(samples), samples, pictures.class_names)


def composed(overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return training_part(compose("train", overrides))


def now() -> Row:
    return {"recorded_in": str(git_commit())[:7]}


def main() -> None:
    parts: dict[str, Callable[[Path, Path, Path], None]] = {
        "frozen": frozen,
        "rows": rows,
        "finetune": finetune,
    }
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("parts", nargs="*", default=[*parts])
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for part in asked.parts:
        parts[part](asked.cars, asked.weights, asked.out)


if __name__ == "__main__":
    main()
