"""The published split error: where it may be repeated, and what it needs to be that one."""

from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig

from carsclf.data.follow_up import FOLLOW_UP, NO_LEAK
from carsclf.errors import ConfigError


def leak_of(config: DictConfig) -> str | None:
    """`data.leak` where there is one; runs of earlier versions do not have the option."""
    leak = config.data.get("leak", NO_LEAK)
    return None if leak == NO_LEAK else leak


def check_follow_up(config: DictConfig) -> None:
    """Refuses a leak without its split, and the split with what would make it another one."""
    data, mode, leak = config.data, config.mode, leak_of(config)
    if data.protocol != FOLLOW_UP:
        if leak:
            raise ConfigError(
                f"data.leak={leak} is an error in one way to divide photos: it needs "
                f"data.protocol={FOLLOW_UP}, as experiment=augmentation_leak sets it"
            )
        return
    changing = instantiate(config.augmentation).random
    frozen = mode.name != "finetune" and mode.boundary not in (0, "0")
    wrong = {
        "data.fraction=1: it takes all photos": data.fraction != 1,
        "data.bootstrap=null: each photo comes as the follow-up had it": data.get("bootstrap")
        is not None,
        "augmentation.share=1: each photo has one copy": config.augmentation.get("share", 1) != 1,
        "mode.cache=false (or mode=finetune): features are kept by photo, and a photo and its "
        "copy are two pictures": changing and frozen and bool(mode.cache),
    }
    if leak:
        wrong |= {
            "data.test_fraction=0.2, say: only photos that nobody touched tell what the leak is "
            "worth": not data.test_fraction,
            "an augmentation: without one there are no copies to leak": not changing,
        }
    if reasons := [reason for reason, here in wrong.items() if here]:
        what = f"data.leak={leak}" if leak else f"data.protocol={FOLLOW_UP}"
        raise ConfigError(f"{what} needs {'; '.join(reasons)}")


def check_experiment(config: DictConfig, experiment: str | None) -> None:
    """Refuses a leak that no experiment of its own sets: whose file says `data.leak`."""
    leak = leak_of(config)
    if not leak:
        return
    if not experiment or leak_of(compose("train", [f"experiment={experiment}"])) != leak:
        raise ConfigError(
            f"data.leak={leak} trains on copies of the photos that judge: it runs only as an "
            "experiment about that (experiment=augmentation_leak, or one whose own file sets it)"
        )


def refuse_leak(config: DictConfig) -> None:
    """A study would choose by photos that its trials were trained on, and hand that on."""
    if leak := leak_of(config):
        raise ConfigError(
            f"data.leak={leak} has no place in a study: it would choose by photos whose copies "
            "were trained on, and write that into best.yaml; measure the leak with train.py "
            "experiment=augmentation_leak, and search with data.leak=none"
        )
