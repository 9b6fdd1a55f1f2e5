"""Phases by hand; small pictures are those of a smaller data.image_size; bad phases are refused."""

from collections.abc import Callable

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from carsclf.data.build import make_data
from carsclf.data.resizing import GrowingPictures, Phase, growing, none, progressive, told
from carsclf.errors import ConfigError

Make = Callable[..., DictConfig]


def test_phases_by_hand() -> None:
    small, middle, full = Phase(64, 32), Phase(128, 32), Phase(256, 32)
    make, given = progressive, {"sizes": [64, 128], "batch": "constant"}
    assert make(256, 32, 7, epochs=[2, 3], **given) == [small] * 2 + [middle] * 3 + [full] * 2
    shares = make(256, 32, 10, epochs=[0.25, 0.35], **given)  # ends at 2.5 and 6
    assert shares == [small] * 2 + [middle] * 4 + [full] * 4
    assert make(256, 32, 1, epochs=[0.25, 0.25], **given) == [full]
    both = make(256, 32, 4, epochs=[1, 0.5], **given)
    assert both == [small, middle, middle, full]
    # a batch has as many pixels: 16 and 4 times as many pictures
    grown = make(256, 32, 3, sizes=[64, 128], epochs=[1, 1], batch="pixels")
    assert [phase.batch_size for phase in grown] == [512, 128, 32]
    assert none(256, 32, 3) == []


def test_phases_are_told_in_order() -> None:
    phases = progressive(256, 8, 4, sizes=[64, 128], epochs=[0.25, 0.5], batch="constant")
    assert told(phases) == "resizing: 1 epoch at 64 px, 2 epochs at 128 px, 1 epoch at 256 px"


def test_shares_that_add_up_to_whole_epochs_end_there() -> None:
    """0.1 + 0.2 is more than 0.3 in floats, and 0.7 x 10 less than 7."""
    given = {"sizes": [64, 128], "batch": "constant"}
    for shares, ends in (([0.1, 0.2], [1, 3]), ([0.7, 0.1], [7, 8])):
        phases = progressive(256, 8, 10, epochs=shares, **given)
        sizes = [phase.size for phase in phases]
        assert [sizes.index(128), sizes.index(256)] == ends


WRONG = {
    ((64, 128), (1,)): "resizing.sizes has 2 sizes and resizing.epochs 1 numbers",
    ((128, 64), (1, 1)): "expected sizes that grow and stay below data.image_size=256",
    ((64, 64), (1, 1)): "expected sizes that grow",
    ((64, 256), (1, 1)): "stay below data.image_size=256",
    ((64, 300), (1, 1)): "stay below data.image_size=256",
    ((64, 128), (2, 2)): "of trainer.max_epochs=4 leave none for data.image_size=256",
    ((64, 128), (0.5, 0.5)): "leave none",
    ((64, 128), (9, 0.5)): "leave none",
}


@pytest.mark.parametrize(("sizes", "epochs"), WRONG)
def test_what_are_no_phases(sizes: tuple[int, ...], epochs: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=WRONG[sizes, epochs]):
        progressive(256, 8, 4, sizes=sizes, epochs=epochs, batch="constant")


def growing_of(config: DictConfig, phases: list[Phase]) -> GrowingPictures:
    pictures, _ = make_data(config)
    data = config.data
    return growing(
        pictures,
        phases,
        transform=data.transform,
        interpolation=data.interpolation,
        augmentation=instantiate(config.augmentation),
    )


def epoch_of(module: GrowingPictures, epoch: int) -> list[dict[str, torch.Tensor]]:
    sampler = module._sampler("train", shuffle=True)
    sampler.set_epoch(epoch)
    return list(module.loader("train", sampler))


@pytest.mark.parametrize("transform", ["squash", "published", "random_resized_crop"])
@pytest.mark.parametrize("packed", [True, False])
def test_each_epoch_has_pictures_of_its_size(
    transform: str, packed: bool, tiny: list[str], config_of: Make
) -> None:
    config = config_of(*tiny, f"data.transform={transform}", f"data.packed={packed}")
    module = growing_of(config, [Phase(16, 16), Phase(24, 8), Phase(32, 4)])
    for epoch, (size, most) in enumerate([(16, 16), (24, 8), (32, 4)]):
        batches = epoch_of(module, epoch)
        assert {tuple(b["pictures"].shape[1:]) for b in batches} == {(3, size, size)}
        assert {b["pictures"].dtype for b in batches} == {torch.uint8}
        assert len(batches[0]["targets"]) == most
        assert sum(len(b["targets"]) for b in batches) == len(module.splits["train"])
    assert module.batches_per_epoch(1, 16) == 3
    (batch, *_) = module.val_dataloader()
    assert batch["pictures"].shape[-1] == 32  # validated as it is exported


def test_small_pictures_are_the_large_ones_shrunk(tiny: list[str], config_of: Make) -> None:
    """In the order of their epoch, antialiased as torchvision does it."""
    config = config_of(*tiny, "augmentation=none", "data.image_size=64")
    module = growing_of(config, [Phase(16, 48), Phase(64, 48)])
    (small,) = epoch_of(module, 0)
    sampler = module._sampler("train", shuffle=True)
    (large,) = module.pictures.batches(
        module.pictures.pictures(module.splits["train"], module.pictures.train_transform),
        sampler,
        48,
    )
    assert torch.equal(small["targets"], large["targets"])
    kind = InterpolationMode.BICUBIC
    for one, other in zip(small["pictures"], large["pictures"], strict=True):
        assert torch.equal(one, resize(other, [16, 16], kind, antialias=True))


def test_the_last_size_is_trained_as_without(tiny: list[str], config_of: Make) -> None:
    """Its pictures are those of the same epoch of a plain training, to the bit."""
    config = config_of(*tiny, "augmentation=light")
    module = growing_of(config, [Phase(16, 8), Phase(32, 8)])
    sampler = module._sampler("train", shuffle=True)
    sampler.set_epoch(1)
    for one, other in zip(
        epoch_of(module, 1), module.pictures.loader("train", sampler), strict=True
    ):
        assert torch.equal(one["pictures"], other["pictures"])
