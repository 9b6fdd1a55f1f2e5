"""What was kept for another training is never taken for this one's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from carsclf.records import RunFolder
from carsclf.training.run import fit
from tests.data.test_sources import write_annotations

Make = Callable[..., DictConfig]


@pytest.fixture
def boxed(tmp_path: Path, pictures: Path, tiny: list[str]) -> list[str]:
    """Overrides of a frozen training on photos with boxes: 60 pictures of 40 x 30, two classes."""
    files = [p.relative_to(pictures).as_posix() for p in sorted(pictures.rglob("*.png"))]
    labels = [1 + (i % 20) // 10 for i in range(len(files))]
    box = {"bbox_x1": 9, "bbox_y1": 11, "bbox_x2": 28, "bbox_y2": 22}
    write_annotations(pictures / "cars_annos.mat", files, labels, box=box, test=[0] * len(files))
    kept = [o for o in tiny if not o.startswith(("data=", "trainer.max_epochs"))]
    own = ["data=stanford_cars", "data.protocol=fractions", "mode=freeze"]
    own += ["optimizer=sgd", "optimizer.lr=0.3"]
    return [*own, *kept, "data.crop=box", "data.margin=0.1", "trainer.max_epochs=1"]


OTHER = {
    "crop": ["data.crop=none"],
    "margin": ["data.margin=0.4"],
    # what is frozen has the same parameters: between them lies a mean over the picture
    "boundary": ["mode.boundary=layer4"],
    "interpolation": ["data.interpolation=bilinear"],
    "transform": ["data.transform=published", "augmentation.flip=1", "mode.views=2"],
    "size": ["data.image_size=40"],
    "augmentation": ["augmentation.flip=0.5", "mode.views=2"],
    "normalisation": ["model.name=mobilenetv4_conv_small.e3600_r256_in1k"],
    "weights": ["seed=1", "data.split_seed=0"],
    "precision": ["trainer.precision=bf16-mixed"],
}


BEFORE = {
    "augmentation": ["augmentation.flip=1", "mode.views=2"],
    "normalisation": ["model.name=mobilenetv4_conv_small.e1200_r224_in1k"],  # another mean only
}


@pytest.mark.parametrize("what", OTHER)
def test_rows_of_another_training_are_not_taken(
    what: str, boxed: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heads(cache: str, options: list[str], name: str) -> dict[str, torch.Tensor]:
        monkeypatch.setenv("CARSCLF_CACHE", str(tmp_path / cache))
        changed = {o.split("=")[0].lstrip("+") for o in options}
        kept = [o for o in boxed if o.split("=")[0] not in changed]
        fit(config_of(*kept, *options), tmp_path / name)
        state = load_file(RunFolder(tmp_path / name).weights)
        return {k: v for k, v in state.items() if k.startswith(("fc", "classifier"))}

    before = heads("shared", BEFORE.get(what, []), "before")
    after, alone = heads("shared", OTHER[what], "after"), heads("alone", OTHER[what], "alone")
    assert all(torch.equal(after[k], alone[k]) for k in alone)
    assert not any(torch.equal(before[k], after[k]) for k in before)
