"""What `fit` trains and reports, against plain torch, timm and scikit-learn on the same files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import f1_score, log_loss, top_k_accuracy_score
from torch.nn.functional import cross_entropy

from carsclf.data.build import make_data
from carsclf.data.samples import Sample
from carsclf.records import ModelCard, Predictions, RunFolder
from carsclf.training.run import fit
from tests.conftest import draw

Make = Callable[..., DictConfig]
CLASSES, SIDE, EPOCHS, SMOOTHING, DECAY = 7, 32, 3, 0.2, 0.05
FROZEN = {
    "finetune": (),
    "partial": ("conv1", "bn1", "layer1"),
    "freeze": ("conv1", "bn1", "layer"),
}


@pytest.fixture
def many(tmp_path: Path, tiny: list[str]) -> list[str]:
    """7 classes of 10 pictures of the network's own size, so that no resize comes between."""
    root = tmp_path / "many"
    for target in range(CLASSES):
        for seed in range(10):
            draw(root / f"class {target}" / f"{seed}.png", target, seed, (SIDE, SIDE))
    kept = [o for o in tiny if not o.startswith(("data.root", "data.image_size"))]
    return [*kept, f"data.root={root}", f"data.image_size={SIDE}", "augmentation=none"]


def network_of(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    network = timm.create_model("test_resnet", num_classes=CLASSES)
    network.load_state_dict(state)
    return network.eval()


def inputs(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels as timm says the network wants them, and classes as the folders say."""
    config: Any = timm.create_model("test_resnet").pretrained_cfg
    pixels = np.stack([np.asarray(Image.open(s.path).convert("RGB")) for s in samples]) / 255
    pixels = (pixels - np.array(config["mean"])) / np.array(config["std"])
    targets = [int(s.path.parent.name.removeprefix("class ")) for s in samples]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), torch.tensor(targets)


def judged(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """scikit-learn's view of some logits, under our names."""
    p, y = logits.double().softmax(1).numpy(), targets.numpy()
    labels = list(range(CLASSES))
    return {
        "val/loss": float(log_loss(y, p, labels=labels)),
        "val/top1": float(top_k_accuracy_score(y, p, k=1, labels=labels)),
        "val/top5": float(top_k_accuracy_score(y, p, k=5, labels=labels)),
        "val/macro_f1": float(f1_score(y, p.argmax(1), average="macro")),
    }


def plainly_trained(
    config: DictConfig, state: dict[str, torch.Tensor], frozen: tuple[str, ...]
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The same training as a loop of a few lines: all pictures in each step, a step an epoch."""
    data, _ = make_data(config)
    (x, y), (val_x, val_y) = inputs(data.splits["train"]), inputs(data.splits["val"])
    network = network_of(state)
    train = [n for n, _ in network.named_parameters() if not (frozen and n.startswith(frozen))]
    parameters = {n: p for n, p in network.named_parameters() if n in train}
    head = [p for n, p in parameters.items() if n.startswith("fc.")]
    body = [p for n, p in parameters.items() if not n.startswith("fc.")]
    lr = config.optimizer.lr
    groups = [{"params": body, "lr": lr}, {"params": head, "lr": 3 * lr}]
    optimizer = torch.optim.SGD(
        [g for g in groups if g["params"]], momentum=0.9, nesterov=True, weight_decay=DECAY
    )
    rows = []
    for _ in range(EPOCHS):
        for name, module in network.named_children():
            module.train(not (frozen and name.startswith(frozen)))
        logits = network(x)
        loss = cross_entropy(logits, y, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        if clip := config.trainer.gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), clip)
        optimizer.step()
        rates = {"lr/head": optimizer.param_groups[-1]["lr"]}
        for group in optimizer.param_groups:  # schedule.factor=0.5 schedule.every=1
            group["lr"] *= 0.5
        with torch.no_grad():
            row = judged(network.eval()(val_x), val_y)
        right = (logits.argmax(1) == y).float().mean()
        rows.append({"train/loss": float(loss), "train/top1": float(right), **row, **rates})
    return network.state_dict(), rows


TRAININGS = {
    "finetune": ["mode=finetune", "optimizer.lr=0.02"],
    "finetune, clipped": ["mode=finetune", "optimizer.lr=0.02", "trainer.gradient_clip_val=0.1"],
    "partial": ["mode=partial", "mode.boundary=layer1", "mode.cache=false", "optimizer.lr=0.02"],
    "partial, cached": ["mode=partial", "mode.boundary=layer1", "optimizer.lr=0.02"],
    "freeze": ["mode=freeze", "mode.cache=false", "optimizer.lr=0.3"],
    "freeze, cached": ["mode=freeze", "optimizer.lr=0.3"],
    "freeze, cached, clipped": [
        *("mode=freeze", "optimizer.lr=0.3", "trainer.gradient_clip_val=0.1"),
    ],
}


@pytest.mark.parametrize("training", TRAININGS)
def test_a_plain_loop_trains_the_same(
    training: str, many: list[str], config_of: Make, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    before = timm.create_model("test_resnet", num_classes=CLASSES).state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    save_file(before, tmp_path / "initial.safetensors")
    config = config_of(
        *many, "optimizer=sgd", *TRAININGS[training], "optimizer.head_lr_factor=3",
        f"optimizer.weight_decay={DECAY}", f"mode.label_smoothing={SMOOTHING}",
        "schedule=step", "schedule.factor=0.5", "schedule.every=1", "reported=last",
        f"model.weights={tmp_path / 'initial.safetensors'}", "data.batch_size=56",
        f"trainer.max_epochs={EPOCHS}",
    )  # fmt: skip
    fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    expected, told = plainly_trained(config, before, FROZEN[training.split(",")[0]])
    after = load_file(files.weights)
    assert after.keys() == expected.keys()
    apart, moved = (
        sum(float((one[k].double() - two[k]).square().sum()) for k in before) ** 0.5
        for one, two in ((after, expected), (expected, before))
    )
    cached = "cached" in training  # features are kept in half precision
    assert 0 <= apart < (2e-3 if cached else 1e-4) * moved
    rows = pd.read_csv(files.metrics)
    losses = [name for name in told[0] if name.endswith("loss")]
    assert rows[losses].to_numpy() == pytest.approx(pd.DataFrame(told)[losses].to_numpy(), rel=2e-3)
    others = [name for name in told[0] if name not in losses]
    assert rows[others].to_numpy() == pytest.approx(pd.DataFrame(told)[others].to_numpy())


@pytest.mark.parametrize("reported", ["last", "best"])
def test_what_is_reported_is_what_the_model_says_of_the_files(
    reported: str, many: list[str], config_of: Make, tmp_path: Path
) -> None:
    options = [o for o in many if not o.startswith("augmentation")]
    config = config_of(
        *options, "augmentation=light", "mode=finetune", "optimizer=sgd", "optimizer.lr=0.1",
        "schedule=constant", "trainer.max_epochs=6", f"reported={reported}",
    )  # fmt: skip
    run = fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    rows = pd.read_csv(files.metrics)
    best = int(rows["val/top1"].to_numpy().argmax())  # the first of equals
    assert best < 5, "choose settings whose last epoch is not the best"
    assert run.reported_epoch == (best + 1 if reported == "best" else 6)
    assert (run.images_trained, run.split_sizes) == (6 * 56, {"train": 56, "val": 14})

    samples = make_data(config)[0].splits["val"]
    x, y = inputs(samples)
    with torch.no_grad():
        logits = network_of(load_file(files.weights))(x)
    expected = judged(logits, y)
    assert run.metrics == pytest.approx(expected, rel=1e-3)
    assert rows.loc[run.reported_epoch - 1, list(expected)].to_dict() == pytest.approx(
        expected, rel=1e-3
    )
    said = Predictions.read(files.predictions("val"))
    assert np.allclose(said.probabilities, logits.softmax(1).numpy(), atol=1e-4)
    assert said.targets.tolist() == y.tolist()
    assert said.ids == [
        f"class {t}/{s.path.name}" for t, s in zip(y.tolist(), samples, strict=True)
    ]
    assert ModelCard.read(files.card).class_names == [f"class {t}" for t in range(CLASSES)]


@pytest.mark.parametrize(("monitor", "best"), [("val/top1", 1), ("val/loss", 3)])
def test_the_best_epoch_is_that_of_the_monitor(
    monitor: str, best: int, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Steps so small that no answer changes (the first of equals is best), but the loss falls."""
    config = config_of(
        *tiny, "mode=freeze", "optimizer=sgd", "schedule=constant", "optimizer.lr=1e-5",
        "trainer.max_epochs=3", f"monitor={monitor}",
    )  # fmt: skip
    run = fit(config, tmp_path / "run")
    rows: Any = pd.read_csv(RunFolder(tmp_path / "run").metrics)
    assert rows["val/top1"].nunique() == 1
    assert rows["val/loss"].is_monotonic_decreasing
    assert run.reported_epoch == best
    assert run.metrics["val/loss"] == pytest.approx(rows["val/loss"][best - 1], rel=1e-6)


def test_training_pictures_are_augmented_and_no_others(
    many: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Always flipped by us is the same as flipped in the files, where training alone is."""
    options = [*many, "mode=finetune", "optimizer=sgd", "reported=last"]
    plain = config_of(*options)
    fit(plain, tmp_path / "plain")
    fit(config_of(*options, "augmentation.flip=1"), tmp_path / "ours")
    for sample in make_data(plain)[0].splits["train"]:
        Image.fromarray(np.asarray(Image.open(sample.path))[:, ::-1].copy()).save(sample.path)
    fit(plain, tmp_path / "files")
    states = {f: load_file(RunFolder(tmp_path / f).weights) for f in ("plain", "ours", "files")}
    assert all(torch.equal(states["ours"][k], tensor) for k, tensor in states["files"].items())
    assert not torch.equal(states["ours"]["fc.weight"], states["plain"]["fc.weight"])
    rows = {f: pd.read_csv(RunFolder(tmp_path / f).metrics) for f in ("ours", "files")}
    time = ["seconds"]
    pd.testing.assert_frame_equal(rows["ours"].drop(columns=time), rows["files"].drop(columns=time))


def test_dropout_differs_from_epoch_to_epoch(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Among equal pictures, told no class apart, their order can make no difference."""
    for target in range(2):
        for number in range(10):
            draw(tmp_path / "alike" / str(target) / f"{number}.png", 0, 0, (SIDE, SIDE))
    kept = [o for o in tiny if not o.startswith(("data.root", "data.batch", "model.name"))]
    still = [
        *kept, f"data.root={tmp_path / 'alike'}", "data.batch_size=16", "model.name=test_convnext",
        "augmentation=none", "mode=finetune", "mode.label_smoothing=0.9999999", "optimizer=sgd",
        "optimizer.lr=1e-20", "trainer.max_epochs=4",
    ]  # fmt: skip
    losses = {}
    for rate in (0, 0.5):
        fit(config_of(*still, f"+model.args.drop_rate={rate}"), tmp_path / str(rate))
        rows = pd.read_csv(RunFolder(tmp_path / str(rate)).metrics)
        losses[rate] = rows["train/loss"].tolist()
    assert np.ptp(losses[0]) < 1e-6  # nothing moves
    assert np.diff(sorted(losses[0.5])).min() > 1e-5
