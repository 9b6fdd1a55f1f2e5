"""The contract with timm: every family, trained whole, adapted, and cut at every boundary it has.

Each is built, trained from cached features of its frozen part, stopped and resumed, written to a
run folder, and loaded from there as a whole network, which must say what the training's own two
halves said. experiments/networks/contract.csv holds what works and what is refused, and why;
CONTRACT=<file> writes that table anew.
"""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from carsclf.data.build import make_data
from carsclf.errors import ConfigError
from carsclf.inference.predict import load_model, predict
from carsclf.models.boundary import HEAD, stages
from carsclf.models.networks import create
from carsclf.records import Predictions, RunFolder
from carsclf.training.run import fit
from tests.conftest import ROOT, until

Make = Callable[..., DictConfig]
TABLE = ROOT / "experiments" / "networks" / "contract.csv"
SMALL: dict[str, Any] = {"depth": 3, "embed_dim": 48, "num_heads": 2}
FAMILIES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "ResNet": ("test_resnet", 32, {}),
    "EfficientNet": ("test_efficientnet", 32, {}),
    "MobileNetV4": ("mobilenetv4_conv_small_035", 32, {}),
    "ConvNeXt": ("test_convnext", 32, {}),
    "RegNet": ("regnetx_002", 32, {}),
    "DenseNet": ("densenet121", 32, {}),
    "Inception V4": ("inception_v4", 96, {}),
    "ViT, class token": ("vit_tiny_patch16_224", 32, SMALL),
    "ViT, mean pooling": ("vit_base_patch16_rpn_224", 32, SMALL),
    "ViT, attention pooling (SigLIP)": ("vit_base_patch16_siglip_224", 32, SMALL),
    "ViT, registers (DINOv2)": ("vit_small_patch14_reg4_dinov2", 42, SMALL),
    "EVA-02": ("eva02_tiny_patch14_224", 42, {"depth": 3}),
    "BEiT": ("beit_base_patch16_224", 32, SMALL),
    "Swin": ("swin_tiny_patch4_window7_224", 64, {"embed_dim": 24}),
    "MaxViT": ("test_maxvit", 64, {}),
    "Hiera": ("hiera_tiny_224", 64, {"embed_dim": 24}),
    "PVT": ("pvt_v2_b0", 32, {}),
    "MobileViT": ("mobilevit_xxs", 64, {}),
    "FastViT": ("fastvit_t8", 64, {}),
    "EfficientFormer": ("efficientformer_l1", 224, {"embed_dims": [8, 8, 16, 32]}),
    "PoolFormer": ("poolformer_s12", 32, {}),
    "MetaFormer (CAFormer)": ("caformer_s18", 32, {}),
    "VGG": ("vgg11", 32, {"mlp_ratio": 0.05}),
    "Xception": ("legacy_xception", 64, {}),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", 32, SMALL),
    "LeViT, distilled": ("levit_128s", 224, {}),
    "CaiT": ("cait_xxs24_224", 32, {"depth": 2}),
    "MViTv2": ("mvitv2_tiny", 64, {}),
    "Twins": ("twins_svt_small", 64, {"depths": [1, 1, 1, 1]}),
    "CrossViT": ("crossvit_tiny_240", 240, {}),
}
recorded: dict[tuple[str, str], dict[str, str]] = {}


def overrides(family: str) -> list[str]:
    name, size, args = FAMILIES[family]
    given = [f"+model.args.{key}={value}" for key, value in args.items()]
    return [f"model.name={name}", f"data.image_size={size}", *[g.replace(" ", "") for g in given]]


def boundaries(family: str) -> list[str]:
    name, size, args = FAMILIES[family]
    with torch.device("meta"):
        network = create(name, image_size=size, **args)
    return ["none", "adapt", *stages(network), HEAD]


def settings(boundary: str) -> list[str]:
    if boundary == "none":
        return ["mode=finetune"]
    if boundary == "adapt":
        return ["mode=adapt", "mode.rank=2"]
    mode = "freeze" if boundary == HEAD else "partial"
    return [f"mode={mode}", f"mode.boundary={boundary}"]


def trained(config: DictConfig, folder: Path, *, resumed: bool) -> None:
    """An epoch; or two, and again two with a stop between them, which must end alike."""
    fit(config, folder)
    if not resumed:
        return
    parts = folder.with_name(f"{folder.name} in parts")
    fit(config, parts, on_epoch=until(1))
    assert fit(config, parts, resume=True).finished
    one, two = (load_file(RunFolder(f).weights) for f in (folder, parts))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def says_the_same(config: DictConfig, folder: Path) -> None:
    """The whole network from the run folder, and what was trained: halves, additions."""
    data, _ = make_data(config)
    samples = data.splits["val"]
    again = predict(load_model(folder), data.loader_of(samples), samples, data.class_names)
    kept = Predictions.read(RunFolder(folder).predictions("val"))
    assert kept.ids == again.ids
    apart = torch.tensor(kept.probabilities) - torch.tensor(again.probabilities)
    cached = config.mode.name in ("freeze", "partial")
    assert apart.abs().max() < (3e-3 if cached else 1e-5)  # cached features are half


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_contract(family: str, tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    known = [o for o in tiny if not o.startswith(("model.name", "data.image_size", "trainer.max"))]
    places = boundaries(family)
    middle = places[len(places) // 2]
    for boundary in places:
        epochs = 2 if boundary == middle else 1
        config = config_of(
            *known, *overrides(family), *settings(boundary), f"trainer.max_epochs={epochs}",
            "optimizer=adamw", "optimizer.lr=1e-3",
        )  # fmt: skip
        said = "works"
        try:
            trained(config, tmp_path / boundary, resumed=boundary == middle)
            says_the_same(config, tmp_path / boundary)
        except ConfigError as error:
            said = f"refused: {' '.join(str(error).split())}"
        name = FAMILIES[family][0]
        row = {"family": family, "network": name, "boundary": boundary, "said": said}
        recorded[family, boundary] = row
    if "CONTRACT" in os.environ:
        write(Path(os.environ["CONTRACT"]))
        return
    with TABLE.open() as file:
        expected = [row for row in csv.DictReader(file) if row["family"] == family]
    assert [recorded[family, boundary] for boundary in places] == expected


def write(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["family", "network", "boundary", "said"])
        writer.writeheader()
        writer.writerows(recorded.values())
