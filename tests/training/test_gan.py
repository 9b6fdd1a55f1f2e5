"""A GAN's run: exact on resume, blind to held-out photos, and no classifier's."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file

from carsclf.data.build import make_data
from carsclf.errors import CarsclfError, CheckpointError
from carsclf.inference.predict import load_model
from carsclf.models.gan import Generator
from carsclf.records import Run, RunFolder
from carsclf.report.material import TrainedRun
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.gan import GanModule
from carsclf.training.gan_record import GanRun, GeneratorCard
from carsclf.training.gan_run import fit_gan
from carsclf.training.run import fit
from tests.conftest import until
from tests.training.test_resume import in_a_child

Make = Callable[..., DictConfig]
GAN = [
    *("experiment=wgan", "gan.latent=4", "gan.generator_width=2", "gan.critic_width=2"),
    *("gan.n_critic=4", "gan.images_per_class=3", "gan.samples_every=2", "trainer.max_epochs=4"),
]


@pytest.fixture
def small(tiny: list[str]) -> list[str]:
    """6 batches an epoch, so that the steps of the generator go on from epoch to epoch."""
    return [*tiny, *GAN]


def made_by(folder: Path) -> dict[str, bytes]:
    root = RunFolder(folder).synthetic
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*.png"))}


def same(one: Path, two: Path) -> None:
    a, b = (load_file(RunFolder(folder).generator) for folder in (one, two))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())
    assert made_by(one) == made_by(two)
    drawn = [sorted((f / "samples").glob("*.png")) for f in (one, two)]
    assert [p.read_bytes() for p in drawn[0]] == [p.read_bytes() for p in drawn[1]]
    first, second = (pd.read_csv(RunFolder(f).metrics).drop(columns="seconds") for f in (one, two))
    pd.testing.assert_frame_equal(first, second)


def test_stopping_killing_and_going_on_is_exact(
    small: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(*small)
    whole = fit_gan(config, tmp_path / "whole")
    assert (whole.finished, whole.images_made, whole.images_trained) == (True, 9, 4 * 48)
    assert not fit_gan(config, tmp_path / "parts", on_epoch=until(1)).finished
    assert not (tmp_path / "parts" / "synthetic").exists()
    fit_gan(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")

    def train_and_die() -> None:
        step = GanModule.training_step

        def deadly(self: GanModule, batch: dict[str, torch.Tensor], i: int) -> None:
            if self.current_epoch == 2 and i == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            step(self, batch, i)

        monkeypatch.setattr(GanModule, "training_step", deadly)
        fit_gan(config, tmp_path / "killed")

    assert in_a_child(train_and_die) == signal.SIGKILL
    fit_gan(config, tmp_path / "killed", resume=True)
    same(tmp_path / "whole", tmp_path / "killed")
    files = RunFolder(tmp_path / "whole")
    assert [p.name for p in sorted((tmp_path / "whole" / "samples").iterdir())] == [
        "epoch_0002.png",
        "epoch_0004.png",
    ]
    assert read_checkpoint(files.last)
    steps = read_checkpoint(files.last)["optimizer_states"]
    counts = [int(next(iter(s["state"].values()))["step"]) for s in steps]
    assert counts == [24, 24 // 4]


def test_the_files_alone_make_the_pictures_again(
    small: list[str], config_of: Make, tmp_path: Path
) -> None:
    fit_gan(config_of(*small), tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    card = GeneratorCard.read(files.generator_card)
    generator = Generator(
        classes=len(card.class_names), latent=card.latent, width=card.width, size=card.size
    )
    generator.load_state_dict(load_file(files.generator))
    noise = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))  # seed 0, class 1
    with torch.no_grad():
        said = generator.eval()(noise, torch.ones(3, dtype=torch.long))
    place = files.synthetic / card.class_names[1]
    kept = np.stack([np.asarray(Image.open(p)) for p in sorted(place.iterdir())])
    again = ((said + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(kept - again).max() <= 0.51


def test_it_sees_training_photos_alone_and_says_which(
    small: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [*small, "augmentation.flip=0", "data.test_fraction=0.2", "trainer.max_epochs=1"]
    data, _ = make_data(config_of(*small))
    held = {
        p.numpy().tobytes()
        for split in ("val", "test")
        for batch in data.eval_loader(split)
        for p in batch["pictures"]
    }
    seen: set[bytes] = set()
    step = GanModule.training_step

    def watching(self: GanModule, batch: dict[str, torch.Tensor], i: int) -> None:
        seen.update(p.cpu().numpy().tobytes() for p in batch["pictures"])
        step(self, batch, i)

    monkeypatch.setattr(GanModule, "training_step", watching)
    fit_gan(config_of(*small), tmp_path / "run")
    assert len(seen) == len(data.splits["train"])
    assert not seen & held
    told = json.loads((tmp_path / "run" / "synthetic" / "synthetic.json").read_text())
    assert told["trained_on"] == sorted(s.id for s in data.splits["train"])
    assert (told["kind"], told["classes"]) == ("wgan", data.class_names)
    assert told["made_by"]["split_seed"] == 0


def test_its_pictures_go_straight_into_a_training_of_the_same_split(
    small: list[str], tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    fit_gan(config_of(*small, "seed=3"), tmp_path / "gan")
    extra = f"data.extra=[{tmp_path}/gan/synthetic]"
    with pytest.raises(CarsclfError, match="data.split_seed=3"):
        fit(config_of(*tiny, extra), tmp_path / "other")
    run = fit(config_of(*tiny, extra, "data.split_seed=3"), tmp_path / "run")
    assert run.extra == {"wgan": 9}
    assert run.split_sizes == {"train": 48, "val": 12}


def test_whoever_wants_a_classifier_is_told_in_one_line(
    small: list[str], config_of: Make, tmp_path: Path, command, capsys: pytest.CaptureFixture[str]
) -> None:
    fit_gan(config_of(*small, "trainer.max_epochs=1"), tmp_path / "gan")
    assert GanRun.read(tmp_path / "gan" / "run.json").kind == "gan"
    for read in (
        lambda: Run.read(tmp_path / "gan" / "run.json"),
        lambda: TrainedRun.read(tmp_path / "gan"),
        lambda: load_model(tmp_path / "gan"),
    ):
        with pytest.raises(CheckpointError, match="is the run of a GAN, .*synthetic"):
            read()
    capsys.readouterr()
    for line in (
        ("evaluate.py", f"run={tmp_path}/gan"),
        ("report.py", f"runs=[{tmp_path}/gan]"),
        ("predict.py", f"run={tmp_path}/gan", f"images={tmp_path}"),
    ):
        assert command(*line) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert "is the run of a GAN" in said[0]


def test_the_command_with_and_without_a_plus(
    small: list[str], tmp_path: Path, command, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [o for o in small if not o.startswith(("model.", "experiment="))]
    for n, word in enumerate(("+experiment=wgan", "experiment=wgan")):
        options = [*own, "trainer.max_epochs=1", "gan.samples_every=1", f"name=gan{n}"]
        assert command("train.py", word, *options) == 0
        said = capsys.readouterr()
        assert "Wasserstein estimate" in said.err
        assert said.out.splitlines()[-1].startswith("next: python train.py data.extra=[")
        assert (tmp_path / "runs/train" / f"gan{n}" / "samples" / "epoch_0001.png").is_file()
    same(tmp_path / "runs/train/gan0", tmp_path / "runs/train/gan1")
    assert command("train.py", f"resume={tmp_path}/runs/train/gan0") == 0  # done: said again


WRONG = {
    "mode=freeze": "experiment=wgan needs mode=finetune",
    "data.image_size=48": "image_size=48: a GAN makes pictures of 32, 64, 128 pixels",
    "gan.images_per_class=0": "images_per_class=0: expected a whole number, at least 1",
    "gan.n_critic=0": "n_critic=0: expected",
    "gan.penalty=-1": "penalty=-1: expected a number, above 0",
    "+gan.widht=3": "gan.widht is no option",
    "~gan.lr": "gan.lr has no value",
    "gan.betas=[0.5]": "betas=.* expected a list of 2",
    "data.batch_size=1": "at least 2 pictures",
    "data.extra=[x]": "needs data.extra=",
    "trainer.precision=bf16-mixed": "precision=32-true",
    "trainer.max_epochs=0": "trains no GAN",
    "callbacks=lr_finder": "no callbacks=lr_finder",
}


@pytest.mark.parametrize("option", WRONG)
def test_mistakes_are_found_in_the_configuration(option: str, config_of: Make) -> None:
    with pytest.raises(CarsclfError, match=WRONG[option]):
        config_of("experiment=wgan", option)


def test_what_a_gan_does_not_read_is_refused(
    command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    nowhere = ["+experiment=wgan", "data=folder", "data.root=/nowhere", "name=bad"]  # trains none
    for option in (
        "model=resnet50",
        "optimizer.lr=0.1",
        "class_weights=inverse",
        "resizing=progressive resizing.sizes=[32] resizing.epochs=[2]",
        "unfreezing=gradual",
        "reported=last",
    ):
        first, *more = option.split()
        assert command("train.py", *nowhere, first, *more) == 1
        assert f"would not read {first}" in capsys.readouterr().err
        assert not (tmp_path / "runs/train/bad").exists()
    assert command("tune.py", "experiment=wgan") == 1
    assert "no place in a study" in capsys.readouterr().err


@pytest.mark.slow
def test_the_class_asked_for_is_the_class_made(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """The fixture's classes are black, red and green beneath noise."""
    options = [*tiny, *GAN, "gan.generator_width=4", "gan.critic_width=8", "gan.n_critic=2"]
    fit_gan(
        config_of(*options, "gan.lr=0.002", "gan.ema_decay=0.9", "trainer.max_epochs=40"),
        tmp_path / "run",
    )
    for target in range(3):
        place = tmp_path / "run" / "synthetic" / f"class {target}"
        red, green, _ = np.stack([np.asarray(Image.open(p)) for p in place.iterdir()]).mean(
            (0, 1, 2)
        )
        assert (red > green + 40, green > red + 40) == (target == 1, target == 2)
