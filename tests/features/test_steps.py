"""Many mini-batches in a training step give what the plain loop gives; L-BFGS what sklearn does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from carsclf.data.build import make_data
from carsclf.errors import CarsclfError, ConfigError
from carsclf.features.datamodule import FeatureDataModule
from carsclf.inference.predict import load_model, predict
from carsclf.records import Predictions, RunFolder
from carsclf.training import build
from carsclf.training.build import cut_network, make_inputs, make_network
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.run import fit
from carsclf.training.trainer import make_trainer
from tests.conftest import until

Make = Callable[..., DictConfig]
OPTIMIZERS = {
    "sgd": ["optimizer=sgd", "optimizer.lr=0.1", "schedule=plateau", "schedule.patience=0"],
    "adamw": ["optimizer=adamw", "schedule=one_cycle"],
}
MODES = {"freeze": ["mode=freeze"], "partial": ["mode=partial", "mode.boundary=2"]}
MORE = ["data.batch_size=7", "mode.label_smoothing=0.1", "trainer.max_epochs=3"]


def features_of(config: DictConfig) -> FeatureDataModule:
    """The rows that a training of this configuration goes through."""
    pictures, _ = make_data(config)
    halves = cut_network(config, make_network(config, 3)[0], pictures)
    inputs = make_inputs(config, halves, pictures, make_trainer(config, Path(), []))
    assert isinstance(inputs, FeatureDataModule)
    return inputs


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(folder).weights)


@pytest.mark.parametrize("clip", ["null", "0.5"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mode", MODES)
def test_chunks_train_as_the_plain_loop_does(
    mode: str,
    optimizer: str,
    clip: str,
    tiny: list[str],
    config_of: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clipped = f"trainer.gradient_clip_val={clip}"
    config = config_of(*tiny, *MODES[mode], *OPTIMIZERS[optimizer], *MORE, clipped)
    fit(config, tmp_path / "chunks")
    monkeypatch.setattr(build, "steps_are_ours", lambda trainer: False)
    fit(config, tmp_path / "plain")
    one, two = state(tmp_path / "chunks"), state(tmp_path / "plain")
    assert all(torch.allclose(one[k], two[k], rtol=1e-3, atol=1e-5) for k in one)
    first, second = (
        pd.read_csv(RunFolder(tmp_path / name).metrics).drop(columns="seconds")
        for name in ("chunks", "plain")
    )
    pd.testing.assert_frame_equal(first, second, rtol=1e-3, atol=1e-5)
    steps = [
        read_checkpoint(RunFolder(tmp_path / n).last)["global_step"] for n in ("chunks", "plain")
    ]
    assert steps == [21, 21]  # 48 pictures, 7 at a time


def test_several_chunks_are_as_good_as_one(
    tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(*tiny, "mode=freeze", *OPTIMIZERS["adamw"], *MORE)
    fit(config, tmp_path / "one")
    monkeypatch.setattr("carsclf.features.datamodule.CHUNK_BYTES", 1)
    fit(config, tmp_path / "many", on_epoch=until(2))
    fit(config, tmp_path / "many", resume=True)
    one, two = state(tmp_path / "one"), state(tmp_path / "many")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_loss_that_is_no_number_is_told(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    config = config_of(*tiny, "mode=freeze", "optimizer=sgd", "optimizer.lr=1e38")
    with pytest.raises(CarsclfError, match="the training loss became nan in epoch 1: lower"):
        fit(config, tmp_path / "run")


def test_the_head_on_its_backbone_says_what_it_said_on_features(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, "mode=freeze", "reported=last", "trainer.max_epochs=5")
    fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    kept = Predictions.read(files.predictions("val")).probabilities
    data, _ = make_data(config)
    samples = data.splits["val"]
    whole = predict(load_model(files.root), data.loader_of(samples), samples, data.class_names)
    assert np.abs(kept - whole.probabilities).max() < 2e-3  # half keeps 11 bits
    assert not np.array_equal(kept, whole.probabilities)  # it was half
    assert np.ptp(kept, axis=0).max() > 0.1  # and they say something


VIEWS = ["mode=freeze", "optimizer=adamw", "augmentation=light", "mode.views=3", "seed=21"]


def test_views_are_kept_sampled_by_epoch_and_resumed(
    tiny: list[str], config_of: Make, tmp_path: Path, counted: list[int]
) -> None:
    config = config_of(*tiny, *VIEWS, "trainer.max_epochs=3")
    fit(config, tmp_path / "whole")
    assert counted == [12, 144]  # validation once, training three times
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    fit(config_of(*tiny, *VIEWS, "mode.views=2"), tmp_path / "fewer")
    assert counted == [12, 144]
    one, two = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(one[k], two[k]) for k in one)

    loader = features_of(config).train_dataloader()
    seen = []
    for epoch in (0, 0, 1):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        seen.append({tuple(row.tolist()) for batch in loader for row in batch["features"]})
    assert seen[0] == seen[1] != seen[2]
    assert len(seen[0] | seen[2]) > 48  # other views of the same 48 photos


REFUSED = {
    "augmentation=light": "mode.views=8 optimizer=adamw",
    "data.transform=published": "mode.cache=false optimizer=adamw",
    "optimizer=adamw mode.views=2": "do not change at random",
    "optimizer=adamw mode.views=0": "mode.views=0: expected a whole number",
    "optimizer=adamw augmentation=light mode.views=2 mode.cache=false": "needs the cache",
    "schedule=one_cycle": "needs schedule=constant: .*; or take optimizer=adamw",
    "mode.cache=false": "sees all pictures in each iteration; or take optimizer=adamw",
    "mode.boundary=2": "needs mode=freeze: .*; or take optimizer=adamw",
    "augmentation=light mode.views=2": "needs mode.views=1: .*; or take optimizer=adamw",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_does_not_go_together_is_refused_with_the_reason(
    options: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=REFUSED[options]):
        fit(config_of(*tiny, "mode=freeze", *options.split()), tmp_path / "run")


def test_lbfgs_finds_what_sklearn_finds_and_resumes(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    decay = 1e-2
    config = config_of(
        *tiny, "mode=freeze", "reported=last",
        "trainer.max_epochs=10", f"optimizer.weight_decay={decay}",
    )  # fmt: skip
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(2))
    fit(config, tmp_path / "parts", resume=True)
    one, two = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(one[k], two[k]) for k in one)

    data = features_of(config)
    x = data.rows["train"][torch.arange(48)].numpy()
    y = [sample.target for sample in data.splits["train"]]
    sklearn = LogisticRegression(C=1 / (decay * len(y)), tol=1e-8, max_iter=1000).fit(x, y)
    assert np.allclose(one["fc.weight"].numpy(), sklearn.coef_, atol=1e-3)
    # softmax does not see what is added to all biases
    bias = one["fc.bias"] - one["fc.bias"].mean()
    assert np.allclose(bias.numpy(), sklearn.intercept_ - sklearn.intercept_.mean(), atol=1e-3)
    assert np.abs(sklearn.coef_).max() > 0.05
