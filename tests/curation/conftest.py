"""Photos of three classes with planted faults, a finished run on them, and its findings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from tests.conftest import ACCELERATOR

NAMES = ("red, [wide]", "grün", "it's blue")  # as class folders may be called


def photo(target: int, seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A few large blots on a ground whose colour tells the class; another for each seed."""
    rng = np.random.default_rng((7, target, seed))
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    picture = np.zeros((size[1], size[0], 3)) + 60
    picture[..., target] += 110
    for _ in range(9):
        cx, cy, radius = rng.random(), rng.random(), rng.uniform(0.05, 0.25)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        picture[inside] += rng.integers(-60, 60)
    picture += rng.normal(0, 6, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92)


def library(root: Path, each: int = 14) -> Path:
    """root/{train,test}/<class>/*: whole photos, nothing wrong with them."""
    for target, name in enumerate(NAMES):
        for seed in range(each):
            part = "test" if seed >= each - 3 else "train"
            save(photo(target, seed), root / part / name / f"{seed:02} é.png")
    return root


def plant(root: Path) -> dict[str, str]:
    """What is wrong with which photo; the id of each fault."""
    first, second, third = (root / "train" / name for name in NAMES)
    one, two = photo(0, 0), photo(1, 1)
    ids = {
        "mirror": second / "mirror.png",
        "copy": first / "copy.png",
        "small": root / "test" / NAMES[1] / "resized.jpg",
        "crop": first / "crop.jpg",
        "dark": first / "dark.png",
        "bright": second / "bright.png",
        "blurred": third / "blurred.png",
        "long": third / "long.png",
        "tiny": third / "tiny.png",
        "broken": first / "broken.jpg",
        "flipped": first / "flipped label.png",
    }
    save(ImageOps.mirror(two), ids["mirror"])
    (ids["copy"]).write_bytes((first / "00 é.png").read_bytes())
    save(two.resize((60, 40)), ids["small"])
    save(one.crop((6, 4, 90, 60)), ids["crop"])
    save(photo(0, 50).point([v // 8 for v in range(256)] * 3), ids["dark"])
    save(photo(1, 51).point([min(255, 240 + v // 18) for v in range(256)] * 3), ids["bright"])
    save(photo(2, 52).filter(ImageFilter.GaussianBlur(6)), ids["blurred"])
    save(photo(2, 53, (400, 40)), ids["long"])
    save(photo(2, 54, (14, 10)), ids["tiny"])
    ids["broken"].write_bytes(b"\xff\xd8\xff no picture")
    save(photo(2, 55), ids["flipped"])  # a blue one called red
    return {what: path.relative_to(root).as_posix() for what, path in ids.items()}


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = library(tmp_path_factory.mktemp("planted") / "the photos")
    return root, plant(root)


def settings(root: Path) -> list[str]:
    return [
        "data=folder", f"data.root={root}", "data.image_size=32", "data.batch_size=8",
        "data.workers=0", "model.name=test_resnet", "model.weights=none",
        f"trainer.accelerator={ACCELERATOR}", "trainer.precision=32-true",
        "model.channels_last=true", "trainer.max_epochs=1", "look=false",
        "data.skip_unreadable=true", "mode=freeze",
    ]  # fmt: skip


def of_kind(table: Any, kind: str) -> Any:
    return table[table["kind"] == kind]


Command = Callable[..., int]
