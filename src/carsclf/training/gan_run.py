"""The straight line of a GAN: one configuration in; a run folder with made pictures out."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning.callbacks import Callback

from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.extra import RECORD, class_folder
from carsclf.data.made import Synthetic
from carsclf.errors import ConfigError
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.files import AnyPath, atomic_write
from carsclf.machine.memory import keep_freed_memory
from carsclf.records import RunFolder
from carsclf.training.callbacks import EpochEnd, EpochProgress, OnEpoch
from carsclf.training.checks import lightning_mistakes
from carsclf.training.finish import git_commit, surroundings
from carsclf.training.gan import GanModule
from carsclf.training.gan_record import GanRun, GeneratorCard
from carsclf.training.look import LOOK_ONLY, look_at_data
from carsclf.training.run import keep_decided, quiet, save_config, write_overrides
from carsclf.training.trainer import make_trainer, optimizer_steps
from carsclf.training.wandb_log import ending_wandb

SHOWN = 24  # samples in a picture of them
BATCH = 64  # pictures made at once


class GanProgress(EpochProgress):
    """Says how far real and made pictures are apart."""

    def told(self, metrics: dict[str, float]) -> list[str]:
        named = {"Wasserstein estimate": "gan/wasserstein", "penalty": "gan/penalty"}
        return [f"{name} {metrics[key]:.3f}" for name, key in named.items()]


class Samples(Callback):
    """Draws samples/epoch_<n>.png: of the same noise each time, so that one sees them grow."""

    def __init__(self, folder: Path, class_names: Sequence[str], *, every: int, seed: int) -> None:
        self.folder, self.class_names, self.every, self.seed = folder, class_names, every, seed

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every and epoch != pl_module.horizon:
            return
        targets = [i % len(self.class_names) for i in range(SHOWN)]
        drawn = noise(pl_module, SHOWN, self.seed, -1)
        pictures = pl_module.make(drawn, torch.tensor(targets))
        contact_sheet(
            [picture.permute(1, 2, 0).numpy() for picture in pictures],
            [self.class_names[target] for target in targets],
            self.folder / f"epoch_{epoch:04}.png",
        )


@ending_wandb()
@lightning_mistakes()
def fit_gan(
    config: DictConfig,
    folder: AnyPath,
    *,
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
    overrides: Sequence[str] | None = None,
) -> GanRun:
    """Trains a GAN into `folder`, and makes pictures of each class; as `fit` of a classifier."""
    files, began, commit = RunFolder(Path(folder).expanduser()), time.perf_counter(), git_commit()
    config = save_config(config, files)
    write_overrides(overrides, files)
    quiet()
    keep_freed_memory()
    pl.seed_everything(config.seed, verbose=False)
    pictures, _ = make_data(config)
    keep_decided(pictures.decided, files)
    last = files.last if resume and files.last.is_file() else None
    if config.look and last is None:
        look_at_data(pictures, files.root)
    progress = GanProgress(config.trainer.max_epochs)
    epoch_end = EpochEnd(files, progress, monitor="epoch", on_epoch=on_epoch)  # the last is best
    names, every = pictures.class_names, config.gan.samples_every
    samples = Samples(files.root / "samples", names, every=every, seed=config.seed)
    trainer = make_trainer(config, files.root, [progress, samples, epoch_end])
    if trainer.world_size > 1:
        raise ConfigError("trainer.devices: a GAN trains in one process: trainer.devices=1")
    module = make_gan(config, pictures, trainer)
    if config.look != LOOK_ONLY:
        trainer.fit(module, pictures, ckpt_path=last, weights_only=True)
    finished = len(epoch_end.rows) >= config.trainer.max_epochs
    made = write_generator(config, module, pictures, files) if finished else 0
    sizes = {"generator": module.generator, "critic": module.critic}
    record = GanRun(
        **surroundings(config, pictures, trainer),
        git_commit=commit,
        seconds=epoch_end.seconds_before + time.perf_counter() - began,
        epochs=len(epoch_end.rows),
        horizon=config.trainer.max_epochs,
        images_trained=len(epoch_end.rows) * len(pictures.splits["train"]),
        parameters={name: sum(p.numel() for p in n.parameters()) for name, n in sizes.items()},
        metrics=dict(epoch_end.rows[-1]) if epoch_end.rows else {},
        images_made=made,
        finished=finished,
    )
    record.write(files.run)
    return record


def make_gan(config: DictConfig, pictures: CarsDataModule, trainer: pl.Trainer) -> GanModule:
    """The two networks and their rules, as `gan` says."""
    own = ("latent", "generator_width", "critic_width", "n_critic", "penalty", "lr", "ema_decay")
    return GanModule(
        classes=len(pictures.class_names),
        size=config.data.image_size,
        **{key: config.gan[key] for key in own},
        betas=tuple(config.gan.betas),
        horizon=config.trainer.max_epochs,
        steps=optimizer_steps(pictures.batches_per_epoch(), trainer),
        seed=config.seed,
    )


def noise(module: GanModule, count: int, seed: int, number: int) -> torch.Tensor:
    """(count, latent), drawn from the run's seed and a number of its own: a class's, or -1."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number + 1)
    return torch.randn(count, module.generator.latent, generator=generator)


def write_generator(
    config: DictConfig, module: GanModule, pictures: CarsDataModule, files: RunFolder
) -> int:
    """Writes the generator and `synthetic/`, ready for data.extra; how many pictures that are."""
    from safetensors.torch import save_file

    names, each = pictures.class_names, config.gan.images_per_class
    state = {name: t.cpu().contiguous() for name, t in module.sampled.state_dict().items()}
    with atomic_write(files.generator) as temporary:
        save_file(state, temporary)
    GeneratorCard(
        names, config.data.image_size, config.gan.latent, config.gan.generator_width
    ).write(files.generator_card)
    shutil.rmtree(files.synthetic, ignore_errors=True)  # of a run that was killed while it wrote
    for target, name in enumerate(names):
        place = class_folder(files.synthetic, name)
        place.mkdir(parents=True, exist_ok=True)
        drawn = noise(module, each, config.seed, target)
        made = [module.make(part, torch.full((len(part),), target)) for part in drawn.split(BATCH)]
        for i, picture in enumerate(torch.cat(made)):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(place / f"{i:04}.png")
    split_seed = config.data.get("split_seed")
    told = {
        "split_seed": config.seed if split_seed is None else split_seed,
        **{key: config.data[key] for key in ("protocol", "val_fraction", "test_fraction", "crop")},
        "epochs": config.trainer.max_epochs,
        "gan": OmegaConf.to_container(config.gan),
    }
    saw = sorted({sample.id for sample in pictures.splits["train"]})
    record = Synthetic("wgan", names, config.seed, told, trained_on=saw)
    record.write(files.synthetic / RECORD)  # the last: without it the folder is refused
    return each * len(names)
