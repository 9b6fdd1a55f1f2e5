"""Tiny pictures, a tiny network, and the project's own commands run in this process."""

import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# before torch is imported: tests share two cores, and never ask a hub
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
CACHE = os.environ["CARSCLF_CACHE"] = tempfile.mkdtemp(prefix="carsclf-test-cache-")

import hypothesis
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

hypothesis.settings.register_profile("ours", deadline=None)  # cores are shared
hypothesis.settings.load_profile("ours")
ROOT = Path(__file__).parents[1]
ACCELERATOR = os.environ.get("CARSCLF_TEST_ACCELERATOR", "cpu")  # gpu: trainings of tests on a card
REAL = ROOT.parent / "shared" / "data"


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if REAL.is_dir():
        return
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason=f"real photos are not at {REAL}"))


def draw(path: Path, target: int, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    """A noisy picture whose colour tells its class."""
    rng = np.random.default_rng((target, seed))
    colour = 255 * np.array([target % 2, target // 2 % 2, target // 4 % 2])
    noise = rng.integers(0, 120, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((0.5 * colour + noise).clip(0, 255).astype(np.uint8)).save(path)


def until(epoch: int) -> Callable[..., bool]:
    """An `on_epoch` that stops a training after that many epochs."""
    return lambda done, *_: done < epoch


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """root/<class>/*.png: 3 classes of 20 pictures."""
    root = tmp_path / "pictures"
    for target in range(3):
        for seed in range(20):
            draw(root / f"class {target}" / f"{seed:02}.png", target, seed)
    return root


@pytest.fixture
def tiny(pictures: Path) -> list[str]:
    """Overrides of a training that takes a second or two."""
    return [
        "data=folder",
        f"data.root={pictures}",
        "data.image_size=32",
        "data.batch_size=8",
        "data.workers=0",
        "model.name=test_resnet",
        "model.weights=none",
        f"trainer.accelerator={ACCELERATOR}",
        "trainer.precision=32-true",  # fixed, so that nothing is measured
        "model.channels_last=true",
        "trainer.max_epochs=2",
        "look=false",
    ]


@pytest.fixture
def config_of() -> Callable[..., DictConfig]:
    """A composed training configuration, as `train.py` hands it to `fit`."""

    def make(*overrides: str, name: str = "train") -> DictConfig:
        from carsclf.training.configuration import training_part

        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return training_part(compose(name, list(overrides)))

    return make


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs `python <script> <arguments>` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: str) -> int:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures went through the frozen part, each time some did."""
    from carsclf.features import extract

    counts: list[int] = []
    real = extract.run_prefix

    def counting(prefix, normalise, loader, *settings):
        counts.append(len(loader.dataset))
        return real(prefix, normalise, loader, *settings)

    monkeypatch.setattr(extract, "run_prefix", counting)
    return counts
