"""Every option of a training either makes another recipe, or is named as none that does."""

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

from carsclf.options.training import TRAINING
from carsclf.report.flat import flat
from carsclf.report.settings import BESIDE, CHANCE, PROBLEM, RECIPE, is_default, under

Composed = Callable[..., DictConfig]


@pytest.mark.parametrize("key", TRAINING)
def test_every_option_is_somewhere(key: str) -> None:
    """A new one is put into RECIPE where it changes what is trained, else where it belongs."""
    places = [key in CHANCE, *(under(key, part) for part in (RECIPE, PROBLEM, BESIDE))]
    assert sum(places) == 1, f"{key} stands in {sum(places)} of RECIPE, PROBLEM, CHANCE and BESIDE"


OTHERWISE = {
    "mode=freeze": ("mode.pool=gem", "data.bootstrap=3", "mode.label_smoothing=0.2"),
    "mode=adapt": (
        *("mode.method=bias", "mode.rank=4", "mode.alpha=8", "mode.layers=[conv_pw]"),
        *("mode.boundary=2 augmentation=none", "mode.pool=both"),
    ),
    "mode=finetune": (
        *("mixing=mixup mixing.alpha=0.1", "averaging=swa", "class_weights=inverse"),
        *("data.sampling=balanced", "data.bootstrap=0", "model.args.drop_rate=0.3"),
        *("reported=last", "augmentation=recoloured", "trainer.gradient_clip_val=1.0"),
        "+trainer.accumulate_grad_batches=2",
        "data.protocol=follow_up data.test_fraction=0.2 data.leak=published",
    ),
}


@pytest.mark.parametrize(("mode", "change"), [(m, c) for m, own in OTHERWISE.items() for c in own])
def test_what_changes_the_training_is_not_our_default(
    config_of: Composed, mode: str, change: str
) -> None:
    assert is_default(flat(config_of("model=resnet18", mode)))
    assert not is_default(flat(config_of("model=resnet18", mode, *change.split())))
