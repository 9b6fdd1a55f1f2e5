"""Order and augmentation depend on (seed, epoch, photo) alone; evaluation is deterministic."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torchvision.transforms import v2

from carsclf.data.augment import Augmentation
from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule, EpochSampler
from carsclf.data.folder import folder
from carsclf.data.splits import split
from carsclf.data.transforms import EvalTransform, build_transforms
from carsclf.errors import ConfigError
from tests.conftest import draw

LIGHT = Augmentation(flip=0.5, rotation=5, zoom=0.1)


def module_of(
    root: Path, *, workers: int = 0, batch_size: int = 7, seed: int = 3
) -> CarsDataModule:
    source = folder(root)
    splits = split(source, "fractions", seed=0)
    transforms = build_transforms("random_resized_crop", 32, "bilinear", LIGHT)
    settings: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "workers": workers}
    return CarsDataModule(splits, source.class_names, *transforms, **settings)


def epoch(module: CarsDataModule, number: int) -> list[torch.Tensor]:
    loader = module.train_dataloader()
    loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
    return [batch["pictures"] for batch in loader]


def equal(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return len(one) == len(two) and all(map(torch.equal, one, two))


def test_worker_count_changes_nothing_and_epochs_differ(pictures: Path) -> None:
    alone, many = module_of(pictures), module_of(pictures, workers=2)
    assert equal(epoch(alone, 1), epoch(many, 1))
    assert not equal(epoch(alone, 1), epoch(alone, 2))
    assert not equal(epoch(alone, 1), epoch(module_of(pictures, seed=4), 1))


def test_reading_pictures_leaves_the_global_generator_alone(pictures: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    module = module_of(pictures)
    module.pictures(module.splits["train"], module.train_transform)[0, 1]
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_share_out_every_picture_once() -> None:
    samplers = [EpochSampler(11, seed=0, shuffle=True, rank=r, world=3) for r in range(3)]
    shares = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(share) for share in shares] == [3, 3, 3]
    assert len({i for share in shares for i, _ in share}) == 9  # two wait for another epoch
    samplers = [EpochSampler(11, seed=0, shuffle=False, rank=r, world=3) for r in range(3)]
    assert [[i for i, _ in s] for s in samplers] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]
    assert [s.batches(3) for s in samplers] == [[3, 1], [3, 1], [2, 1]]  # as many in every rank


def test_a_photo_changes_alike_on_every_rank() -> None:
    whole = dict(EpochSampler(11, seed=0, shuffle=True))
    shared = [EpochSampler(11, seed=0, shuffle=True, rank=r, world=3) for r in range(3)]
    assert all(whole[photo] == seed for sampler in shared for photo, seed in sampler)
    assert len(set(whole.values())) == 11


def test_training_order_changes_with_the_epoch_and_validation_never_does(pictures: Path) -> None:
    module = module_of(pictures)

    def targets(loader: Any, number: int) -> list[int]:
        loader.batch_sampler.set_epoch(number)
        return [int(t) for batch in loader for t in batch["targets"]]

    listed = {part: [s.target for s in module.splits[part]] for part in ("train", "val")}
    one, two = (targets(module.train_dataloader(), number) for number in (1, 2))
    assert one != two
    assert sorted(one) == sorted(two) == sorted(listed["train"])
    for number in (1, 2):
        assert targets(module.val_dataloader(), number) == listed["val"]


def files(module: CarsDataModule, part: str) -> np.ndarray:
    """The pixels of a split's files, as Pillow reads them."""
    return np.stack([np.asarray(Image.open(s.path)) for s in module.splits[part]])


def seen(loader: Any, number: int) -> np.ndarray:
    """(n, height, width, 3) of one epoch."""
    loader.batch_sampler.set_epoch(number)
    return torch.cat([b["pictures"] for b in loader]).permute(0, 2, 3, 1).numpy()


def as_set(pixels: np.ndarray) -> set[bytes]:
    return {picture.tobytes() for picture in np.ascontiguousarray(pixels)}


@pytest.mark.parametrize("packed", ["true", "false"])
def test_only_training_pictures_are_augmented(
    packed: str, tmp_path: Path, tiny: list[str], config_of: Callable[..., DictConfig]
) -> None:
    for target in range(2):
        for seed in range(10):
            draw(tmp_path / "own" / str(target) / f"{seed}.png", target, seed, (32, 32))
    options = [*tiny, f"data.root={tmp_path / 'own'}", f"data.packed={packed}"]
    flipped, _ = make_data(config_of(*options, "augmentation=none", "augmentation.flip=1"))
    light, _ = make_data(config_of(*options, "augmentation=light"))
    train, val = (files(flipped, part) for part in ("train", "val"))
    assert as_set(seen(flipped.train_dataloader(), 1)) == as_set(train[:, :, ::-1])
    one, two = (as_set(seen(light.train_dataloader(), number)) for number in (1, 2))
    assert not one & (as_set(train) | as_set(train[:, :, ::-1]))
    assert not one & two
    for module in (flipped, light):
        for number in (1, 2):
            assert np.array_equal(seen(module.val_dataloader(), number), val)
            assert np.array_equal(seen(module.eval_loader("val"), number), val)


def test_a_last_batch_of_one_is_dropped_in_training_only(pictures: Path) -> None:
    module = module_of(pictures, batch_size=47)  # 48 training pictures
    assert module.batches_per_epoch() == len(epoch(module, 0)) == 1
    assert module_of(pictures, batch_size=46).batches_per_epoch() == 2
    assert sum(len(b["targets"]) for b in module.eval_loader("val")) == 12


def test_batch_size_is_checked(pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.batch_size=49: expected 1 to 48"):
        module_of(pictures, batch_size=49)


@pytest.mark.parametrize("name", ["squash", "published", "random_resized_crop"])
def test_evaluation_transform_is_deterministic_and_travels(name: str) -> None:
    picture = torch.randint(0, 255, (3, 50, 80), dtype=torch.uint8)
    train, evaluation = build_transforms(name, 32, "bicubic", Augmentation())
    again = EvalTransform(**evaluation.to_dict())
    assert torch.equal(evaluation(picture), again(picture))
    assert train(picture).shape == evaluation(picture).shape == (3, 32, 32)
    assert train.random is (name != "squash")
    assert evaluation(picture).dtype == torch.uint8


RESIZED = {"squash": (32, 32), "published": 32, "random_resized_crop": 37}  # 32 / 0.875 = 36.6


@pytest.mark.parametrize("shape", [(50, 83), (71, 40), (32, 32)])
@pytest.mark.parametrize("name", RESIZED)
def test_evaluation_is_torchvisions_resize_and_centre(name: str, shape: tuple[int, int]) -> None:
    noise = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 255, (3, *shape), dtype=torch.uint8, generator=noise)
    for interpolation in ("bilinear", "bicubic"):
        mode = v2.InterpolationMode(interpolation)
        theirs = v2.Compose([v2.Resize(RESIZED[name], mode), v2.CenterCrop(32)])(picture)
        _, ours = build_transforms(name, 32, interpolation, LIGHT)
        assert torch.equal(ours(picture), theirs)


def test_the_interpolation_asked_for_is_used(
    tiny: list[str], config_of: Callable[..., DictConfig]
) -> None:
    for name in ("bilinear", "bicubic"):
        module, _ = make_data(config_of(*tiny, f"data.interpolation={name}"))
        picture = torch.from_numpy(files(module, "val")).permute(0, 3, 1, 2)
        expected = v2.Resize((32, 32), v2.InterpolationMode(name))(picture)
        assert np.array_equal(seen(module.val_dataloader(), 0), expected.permute(0, 2, 3, 1))


def test_transform_mistakes() -> None:
    with pytest.raises(ConfigError, match="did you mean 'squash'"):
        build_transforms("sqash", 32, "bilinear", Augmentation())
    with pytest.raises(ConfigError, match="expected bilinear or bicubic"):
        build_transforms("squash", 32, "nearest", Augmentation())
    with pytest.raises(ConfigError, match="expected a probability"):
        Augmentation(flip=2)


def test_a_transform_is_told_by_what_it_does() -> None:
    def told(name: str, size: int, augmentation: Augmentation) -> str:
        return json.dumps(build_transforms(name, size, "bilinear", augmentation)[0].to_dict())

    pairs = [("published", LIGHT), ("published", Augmentation()), ("random_resized_crop", LIGHT)]
    keys = {told(name, size, a) for name, a in pairs for size in (32, 40)}
    assert keys == {told(name, size, a) for name, a in pairs for size in (32, 40)}
    assert len(keys) == 6
    assert not any(" at 0x" in key for key in keys)


def test_one_class_is_nothing_to_learn(
    tiny: list[str], config_of: Callable[..., DictConfig]
) -> None:
    with pytest.raises(ConfigError, match="one class is left, 'class 1', and nothing to tell it"):
        make_data(config_of(*tiny, "data.classes=[class 1]"))
