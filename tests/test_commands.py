"""The README's commands, and what a user's mistakes end in: one line, status 1, nothing lost."""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from carsclf.records import Predictions, Run, RunFolder
from tests.conftest import ROOT

Command = Callable[..., int]


def error_of(capfd: pytest.CaptureFixture[str]) -> str:
    """The last line of stderr, which must be the only one that speaks of an error."""
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line.lower()]
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


def test_train_evaluate_resume(command: Command, tiny: list[str], tmp_path: Path, capfd) -> None:
    assert command("train.py", *tiny, "data.test_fraction=0.2", "name=one", "look=true") == 0
    said = capfd.readouterr().out
    assert "val (fractions)" in said
    assert "runs/train/one" in said
    folder = tmp_path / "runs/train/one"
    files = RunFolder(folder)
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert present == {
        "config.yaml",
        "overrides.yaml",
        "run.json",
        "metrics.csv",
        "photos.parquet",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "model.safetensors",
        "model.json",
        "predictions/val.parquet",
        "look/training_pictures.png",
        "look/class_counts.csv",
        "look/schedule.png",
        "look/augmented.png",
        "look/augmented.csv",
    }
    assert command("evaluate.py", f"run={folder}", "split=test") == 0
    assert "test (fractions)" in capfd.readouterr().out
    assert len(Predictions.read(files.predictions("test")).ids) == 12
    assert len(pd.read_csv(files.per_class("test"))) == 3
    before = files.weights.read_bytes()
    assert command("train.py", f"resume={folder}") == 0
    assert files.weights.read_bytes() == before


def test_a_list_of_overrides_begins_a_run(
    command: Command, tiny: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    best = tmp_path / "best.yaml"
    best.write_text("".join(f"- {o}\n" for o in [*tiny, "optimizer.lr=0.001", "seed=1"]))
    assert command("train.py", f"overrides={best}", "seed=2", "name=again") == 0
    config = OmegaConf.load(RunFolder(tmp_path / "runs/train/again").config)
    assert (config.optimizer.lr, config.seed) == (0.001, 2)
    best.write_text("optimizer: adamw")
    assert command("train.py", f"overrides={best}") == 1
    assert "expected a list of key=value lines" in error_of(capfd)


def test_a_sweep_ends_with_mean_and_deviation(
    command: Command, tiny: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = [*tiny, "trainer.max_epochs=1", "runs=all runs"]
    assert command("train.py", "-m", *settings, "seed=0,1", "optimizer.lr=0.001,0.002,-1") == 1
    said = capfd.readouterr().out
    (path,) = (tmp_path / "all runs").glob("sweep-*.csv")
    table = pd.read_csv(path)
    assert list(table["setting"]) == [f"optimizer.lr={lr}" for lr in (0.001, 0.002, -1)]
    assert list(table["failed"]) == [0, 0, 2]
    runs = [Run.read(p) for p in (tmp_path / "all runs").glob("*/run.json")]
    assert len(runs) == 4
    top1 = [run.metrics["val/top1"] for run in runs]
    assert sum(table["val/top1"][:2]) / 2 == pytest.approx(sum(top1) / 4)
    first = table.iloc[0]
    shown = f"{100 * first['val/top1']:.2f} ± {100 * first['val/top1 sd']:.2f} %"
    assert shown in said
    assert "each seed draws its own validation split" in said
    last = said.splitlines()[-1]
    assert last.startswith("next: python report.py 'runs=[\"all runs/")
    assert command("report.py", *shlex.split(last)[3:], "folder=page") == 0  # as it stands there
    assert {p.name for p in tmp_path.iterdir()} == {"pictures", "all runs", "page"}


def test_cfg_shows_what_a_list_of_overrides_runs(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    best = tmp_path / "the best.yaml"
    best.write_text("- mode=freeze\n- optimizer=sgd\n- optimizer.lr=0.125\n- seed=1\n")
    own = ["seed=2", f"overrides={best}", "~optimizer.momentum"]
    for arguments in (["--cfg", "job", *own], [*own, "--cfg", "job"], [*own[::-1], "--cfg=job"]):
        assert command("train.py", *arguments) == 0
        shown = OmegaConf.create(capfd.readouterr().out)
        assert (shown.mode.name, shown.optimizer.lr, shown.seed) == ("freeze", 0.125, 2)
    assert command("train.py", "--cfg", "job", "overrides=gone.yaml") == 1
    assert "overrides=gone.yaml cannot be read" in error_of(capfd)


def test_readme_snippets_run_to_their_end(
    command: Command, tiny: list[str], pictures: Path, tmp_path: Path, capfd
) -> None:
    assert command("train.py", *tiny, "trainer.max_epochs=1", "name=one") == 0
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        Image.open(pictures / "class 1/00.png").save(tmp_path / name)
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        capfd.readouterr()
        exec(snippet.replace("<name>", "one"), {})
        assert "class " in capfd.readouterr().out


def test_nothing_is_left_where_a_command_was_typed(
    command: Command, tiny: list[str], tmp_path: Path
) -> None:
    """Only below runs/, which git passes over."""
    assert command("train.py", *tiny, "trainer.max_epochs=1", "name=one") == 0
    assert command("evaluate.py", "run=runs/train/one") == 0
    assert command("evaluate.py", "-m", "run=runs/train/one", "split=val,train") == 0
    assert command("predict.py", "run=runs/train/one", "images=pictures") == 0
    assert command("predict.py", "-m", "run=runs/train/one", "images=pictures", "top=1,2") == 0
    assert command("report.py", "runs=[runs/train/one]") == 0
    assert command("report.py", "-m", "runs=[runs/train/one]", "gallery=0,1") == 0
    assert {p.name for p in tmp_path.iterdir()} == {"pictures", "runs"}


def test_tuning_starts_without_a_warning(tmp_path: Path) -> None:
    """Of other libraries, and of Hydra about our callback."""
    program = (
        "import sys, carsclf.tuning.command as command\n"
        "command.tune = lambda config: None\n"
        "import runpy\n"
        "sys.argv[:] = ['tune.py', '-m', 'search=asha,random', 'name=${hydra:job.num}']\n"
        f"runpy.run_path({str(ROOT / 'tune.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Launching 2 jobs" in done.stdout  # not times the default two experiments
    assert done.stderr == ""


def test_an_unfinished_run_goes_on(command: Command, tiny: list[str], tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    arguments = [*tiny, "name=killed", "trainer.max_epochs=20"]
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("epoch   2/"):
            child.send_signal(signal.SIGINT)
            break
    assert "go on with: python train.py resume=runs/train/killed" in child.stderr.read()
    assert child.wait() == 1
    folder = tmp_path / "runs/train/killed"
    done = len(pd.read_csv(RunFolder(folder).metrics))
    assert command("train.py", f"resume={folder}") == 0
    assert Run.read(RunFolder(folder).run).epochs == 20 > done >= 2


MISTAKES = {
    "misspelt option": (["optimizer.lrr=1"], "Could not override 'optimizer.lrr'"),
    "another optimizer's": (
        ["mode=freeze", "optimizer.lr=1"],
        "optimizer=lbfgs has no lr, another optimizer= may",
    ),
    "misspelt option, hint": (["optimizer.weight_decey=1"], "did you mean 'weight_decay' or"),
    "unknown group option": (["model=resnet19"], "Could not find 'model/resnet19'"),
    "missing root": (["data=folder"], "data.root has no value: give it as data.root=..."),
    "no such folder": (["data=folder", "data.root=/nowhere"], "data.root=/nowhere is no folder"),
    "bad number": (["trainer.max_epochs=few"], "trainer.max_epochs=few: expected a whole number"),
    "layout": (["model.channels_last=maybe"], "channels_last=maybe: expected auto, true, false"),
    "precision": (
        ["trainer.precision=16-true"],
        "trainer.precision=16-true: expected auto, 32-true",
    ),
    "compile": (["model.compile=often"], "model.compile=often: expected true or false"),
    "settings of another optimizer": (
        ["experiment=published_freeze", "data.root=x", "optimizer=adamw"],
        "optimizer=adamw takes lr, head_lr_factor, weight_decay, betas, layer_decay, not momentum, "
        "nesterov; an experiment may have set them for another optimizer: remove them with "
        "~optimizer.momentum ~optimizer.nesterov",
    ),
    "settings of another schedule": (
        ["experiment=published_freeze", "data.root=x", "schedule=constant"],
        "schedule=constant takes no settings, not factor, patience, monitor",
    ),
    "resume nothing": (["resume=/nowhere"], "no config.yaml there"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake: str, command: Command, capfd) -> None:
    arguments, expected = MISTAKES[mistake]
    assert command("train.py", *arguments) == 1
    assert expected in error_of(capfd)


def test_mistakes_about_a_folder_of_pictures(
    command: Command, tiny: list[str], pictures: Path, tmp_path: Path, capfd
) -> None:
    cases = {
        "data.batch_size=999": "expected 1 to 48",
        "data.protocol=official": "data.protocol=fractions works",
        "data.crop=box": "have no boxes",
        "optimizer.lr=1e30": "the training loss became",
        "data.min_images_per_class=99": "the largest has 20",
        "mode.boundary=2": "use mode=partial",
        "model.name=resnet19": "did you mean 'resnet1",
        "model.weights=here.pth": "expected auto, imagenet, none",
    }
    for argument, expected in cases.items():
        assert command("train.py", *tiny, argument) == 1
        assert expected in error_of(capfd)
    assert command("train.py", *tiny, "name=twice") == 0
    assert command("train.py", *tiny, "name=twice") == 1
    assert "resume=runs/train/twice" in error_of(capfd)
    assert command("train.py", "resume=runs/train/twice", "seed=3") == 1
    assert "remove seed=3" in error_of(capfd)
    assert command("evaluate.py", "run=runs/train/twice", "split=test") == 1
    assert "has train, val" in error_of(capfd)


def test_unreadable_photos_are_named_or_left_out(
    command: Command, tiny: list[str], pictures: Path, tmp_path: Path, capfd
) -> None:
    (pictures / "class 0" / "00.png").write_bytes(b"\x89PNG, cut off")
    Image.new("CMYK", (20, 20)).save(pictures / "class 1" / "odd.jpg")
    assert command("train.py", *tiny, "name=a") == 1
    assert "1 of 61 photos" in (said := error_of(capfd))
    assert "class 0/00.png" in said
    assert command("train.py", *tiny, "name=b", "data.skip_unreadable=true") == 0
    assert "left out: 1 unreadable (class 0/00.png: " in capfd.readouterr().err
    assert Run.read(RunFolder(tmp_path / "runs/train/b").run).unreadable == ["class 0/00.png"]


def test_a_full_disk_keeps_what_was_written(
    command: Command, tiny: list[str], tmp_path: Path, capfd
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # less than one checkpoint
    try:
        assert command("train.py", *tiny, "data.packed=false", "name=full") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "could not write runs/train/full/checkpoints/last.ckpt" in error_of(capfd)
    folder = tmp_path / "runs/train/full"
    assert [p.name for p in (folder / "checkpoints").iterdir()] == []
    assert command("train.py", f"resume={folder}") == 0


def test_moved_photos_and_another_root(
    command: Command, tiny: list[str], pictures: Path, tmp_path: Path, capfd
) -> None:
    assert command("train.py", *tiny, "name=moved") == 0
    pictures.rename(tmp_path / "elsewhere")
    assert command("evaluate.py", "run=runs/train/moved") == 1
    assert "is no folder" in error_of(capfd)
    assert command("evaluate.py", "run=runs/train/moved", f"root={tmp_path / 'elsewhere'}") == 0
    shutil.rmtree(tmp_path / "elsewhere" / "class 2")
    assert command("evaluate.py", "run=runs/train/moved", f"root={tmp_path / 'elsewhere'}") == 1
    assert "20 of the 60 photos" in error_of(capfd)


def test_two_processes_train_one_model(tiny: list[str], tmp_path: Path) -> None:
    """DDP on the CPU: every picture once per epoch, one run folder."""
    arguments = [*tiny, "name=ddp", "trainer.devices=2", "trainer.strategy=ddp"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    run = Run.read(RunFolder(tmp_path / "runs/train/ddp").run)
    assert run.device.startswith("2 x cpu")
    assert run.epochs == 2
    assert run.finished


def test_classes_that_a_split_lacks_are_named(
    command: Command, tiny: list[str], pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in sorted((pictures / "class 1").iterdir())[2:]:
        file.unlink()  # a fifth of two is none
    assert command("train.py", *tiny, "name=few") == 0
    said = "macro F1 without the 1 of 3 classes that have no picture in val, unless predicted: "
    assert said + "class 1" in capfd.readouterr().out


def test_a_card_that_is_too_small_is_told_in_one_line_with_what_to_do(
    command: Command, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.")

    monkeypatch.setattr("carsclf.training.modules.TransferModule.training_step", full)
    assert command("train.py", *tiny, "name=large") == 1
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert "take a smaller data.batch_size, with +trainer.accumulate_grad_batches=" in said
