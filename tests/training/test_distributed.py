"""Several processes give what one gives, also where the pictures cannot be shared out evenly."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from carsclf.records import Predictions, Run, RunFolder
from tests.conftest import ROOT, draw

pytestmark = pytest.mark.slow
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]
FROZEN = ["mode=freeze", "optimizer=sgd", "schedule=constant", "reported=last"]


def divided(root: Path, train: int, val: int) -> list[str]:
    """Overrides of a training on so many pictures of two classes."""
    for part, pictures in {"train": train, "val": val, "test": 2}.items():
        for seed in range(pictures):
            draw(root / part / f"class {seed % 2}" / f"{seed:02}.png", seed % 2, seed)
    return [f"data.root={root}", "data.protocol=official"]


def train(folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> RunFolder:
    command = [sys.executable, *launcher, str(ROOT / "train.py"), *options, f"runs={folder.parent}"]
    done = subprocess.run(
        [*command, f"name={folder.name}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return RunFolder(folder)


@pytest.mark.parametrize(
    "more", [[], ["averaging=ema", "data.sampling=balanced"]], ids=["plain", "averaged, balanced"]
)
def test_two_processes_give_what_one_gives(
    more: list[str], tiny: list[str], tmp_path: Path
) -> None:
    options = [*tiny, *divided(tmp_path / "36", 36, 9), *FROZEN, *more]
    two = train(tmp_path / "two", *options, *TWO)  # 8, 8 and 2 pictures each
    one = train(tmp_path / "one", *options, "data.batch_size=16")  # 16, 16 and 4
    a, b = load_file(two.weights), load_file(one.weights)
    assert all(np.allclose(a[name], b[name], rtol=1e-4, atol=1e-6) for name in a)
    said = [Predictions.read(files.predictions("val")).probabilities for files in (two, one)]
    assert said[0].shape == (9, 2)
    assert np.allclose(*said, atol=1e-5)
    metrics = [Run.read(files.run).metrics for files in (two, one)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)


GROWING = "finetune resizing=progressive resizing.sizes=[24] resizing.epochs=[1]"


@pytest.mark.parametrize(
    "mode", ["finetune", "freeze", "finetune averaging=swa mixing=mixup", GROWING]
)
def test_what_cannot_be_shared_out_evenly_does_not_hang(
    mode: str, tiny: list[str], tmp_path: Path
) -> None:
    """35 pictures: one rank had a batch of one left, which is dropped, and the other one of two."""
    options = [*tiny, *divided(tmp_path / "35", 35, 9), *f"mode={mode}".split(), "optimizer=adamw"]
    files = train(tmp_path / "run", *options, *TWO)
    assert Run.read(files.run).finished


def test_torchrun_needs_a_name_and_as_many_devices(tiny: list[str], tmp_path: Path) -> None:
    options = [*tiny, *divided(tmp_path / "36", 36, 9)]
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29713")
    files = train(tmp_path / "run", *options, *TWO, launcher=launcher)
    assert Run.read(files.run).device.startswith("2 x cpu")
    for wrong, said in (([], "2 processes were started from outside"), (TWO, "add name=")):
        more = ["name=other"] if not wrong else []
        command = [sys.executable, str(ROOT / "train.py"), *options, *wrong, *more]
        started = {**os.environ, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
        done = subprocess.run(command, capture_output=True, text=True, env=started, cwd=tmp_path)
        assert done.returncode == 1
        assert said in done.stderr.strip().splitlines()[-1]
