"""What a model should say, computed with Pillow, torch and timm alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

NAMES = ["sea", "forest", "street"]  # not in the alphabet's order, as a model may have them
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def make_model(folder: Path, rule: str = "squash", resize: int = 32, crop: str = "none") -> Path:
    """A folder with model.json and model.safetensors of a tiny network whose classes differ."""
    torch.manual_seed(3)
    network: Any = timm.create_model("test_resnet", num_classes=len(NAMES))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():  # a head for which pictures differ
        network.fc.weight *= 6
        network.fc.bias.zero_()
        network.fc.bias -= network.eval()(torch.rand(8, 3, 32, 32) - 0.5).mean(0)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    card = {
        "name": "test_resnet",
        "class_names": NAMES,
        "eval_transform": {"rule": rule, "size": 32, "resize": resize, "interpolation": "bicubic"},
        "mean": MEAN,
        "std": STD,
        "weights": "none",
        "crop": crop,
    }
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def plain_network(folder: Path) -> Any:
    """timm's network with the weights of a run folder."""
    card = json.loads((folder / "model.json").read_text())
    network = timm.create_model(card["name"], num_classes=len(card["class_names"]))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def plain_pictures(folder: Path, paths: list[Path]) -> torch.Tensor:
    """(n, 3, size, size), as the run folder's model should see them."""
    card = json.loads((folder / "model.json").read_text())
    rows = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        size, short = card["eval_transform"]["size"], card["eval_transform"]["resize"]
        if card["eval_transform"]["rule"] == "squash":
            image = image.resize((size, size), Image.Resampling.BICUBIC)
        else:
            scale = short / min(image.size)
            whole = (int(image.width * scale), int(image.height * scale))
            image = image.resize(whole, Image.Resampling.BICUBIC)
            left, top = (round((side - size) / 2) for side in image.size)
            image = image.crop((left, top, left + size, top + size))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        mean, std = (torch.tensor(card[key])[:, None, None] for key in ("mean", "std"))
        rows.append((pixels - mean) / std)
    return torch.stack(rows)


def plain_probabilities(folder: Path, paths: list[Path]) -> np.ndarray:
    """(n, k), from the files of a run folder."""
    network, pictures = plain_network(folder), plain_pictures(folder, paths)
    with torch.no_grad():
        return np.array([network(one[None]).softmax(1)[0].numpy() for one in pictures])
