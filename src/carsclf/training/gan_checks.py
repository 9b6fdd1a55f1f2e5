"""What a GAN's configuration can have wrong."""

from collections.abc import Sequence

from omegaconf import DictConfig

from carsclf.errors import ConfigError, nearest
from carsclf.models.gan import SIZES
from carsclf.options.training import GAN

UNREAD = (
    *("model", "mode", "optimizer", "schedule", "mixing", "class_weights", "averaging"),
    *("resizing", "unfreezing"),
    *("callbacks", "lr_finder", "reported", "monitor"),
)
"""Groups and options of a classifier's training, which a GAN's does not read."""


def check_gan(config: DictConfig) -> None:
    """Refuses what a GAN cannot be trained with, as far as the configuration tells."""
    known = [key.partition(".")[2] for key in GAN]
    for key in config.gan:
        if key not in known:
            raise ConfigError(f"gan.{key} is no option: {nearest(str(key), known)}")
    if lacking := [key for key in known if key not in config.gan]:
        raise ConfigError(f"gan.{lacking[0]} has no value: choose the GAN with +experiment=wgan")
    data, trainer = config.data, config.trainer
    if data.image_size not in SIZES:
        raise ConfigError(
            f"data.image_size={data.image_size}: a GAN makes pictures of "
            f"{', '.join(map(str, SIZES))} pixels"
        )
    if data.batch_size < 2:
        raise ConfigError("data.batch_size=1: a generator's BatchNorm needs at least 2 pictures")
    if not trainer.max_epochs:
        raise ConfigError("trainer.max_epochs=0 trains no GAN: expected at least 1")
    wrong = {
        "mode=finetune: both networks train whole, from nothing": config.mode.name != "finetune",
        "no callbacks=lr_finder: its rate is gan.lr": "lr_finder" in config,
        "data.extra=[]: it is to learn from photos": bool(data.get("extra")),
        "trainer.precision=32-true: its penalty is the gradient of a gradient": trainer.precision
        != "32-true",
        "trainer.gradient_clip_val=null: it has two optimizers, and the penalty": bool(
            trainer.gradient_clip_val
        ),
        "trainer.accumulate_grad_batches=1: data.batch_size is its batch": trainer.get(
            "accumulate_grad_batches", 1
        )
        != 1,
    }
    if reasons := [reason for reason, here in wrong.items() if here]:
        raise ConfigError(f"experiment=wgan needs {'; '.join(reasons)}")


def check_unread(overrides: Sequence[str]) -> None:
    """Refuses what was typed and would be read by a classifier's training only."""
    for override in overrides:
        if override.lstrip("+~").partition("=")[0].partition(".")[0] in UNREAD:
            raise ConfigError(
                f"experiment=wgan trains no classifier, and would not read {override}: remove it "
                "(its own options are below gan.)"
            )


def refuse_gan(config: DictConfig) -> None:
    """A study compares accuracies, and a GAN has none."""
    if "gan" in config:
        raise ConfigError(
            "experiment=wgan has no place in a study, as a GAN has no accuracy to be searched by: "
            "train it with train.py +experiment=wgan, and search with data.extra=[<run>/synthetic]"
        )
