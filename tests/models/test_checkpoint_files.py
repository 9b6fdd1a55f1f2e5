"""Weights files as trainings and downloads leave them: read whole, or told what they are."""

import argparse
import gzip
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from carsclf.errors import CheckpointError
from carsclf.models.checkpoint_files import read_state

STATE = {"conv.weight": torch.arange(4000.0).view(8, 500), "conv.bias": torch.ones(8)}
ARGS = argparse.Namespace(lr=0.1, data=Path("/data"), best=np.float64(0.5), seen=np.int64(3))


def same(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[k], v) for k, v in STATE.items())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.pt", STATE),
        ("timm.pth.tar", {"epoch": 1, "arch": "resnet10t", "state_dict": STATE, "args": ARGS}),
        ("tutorial.pth", {"epoch": 1, "model_state_dict": STATE, "optimizer_state_dict": {}}),
        ("pytorch.bin", {"net": STATE, "acc": np.float32(0.7), "epoch": 3}),
        ("imagenet.pth", {"state_dict": STATE, "best_acc1": torch.tensor(0.7)}),
        ("nested.ckpt", {"checkpoint": {"model": STATE}, "optimizer": {"state": {0: {}}}}),
        ("own.pth", {"epoch": 2, "my_network": STATE}),
        ("parameters.pth", {k: nn.Parameter(v) for k, v in STATE.items()}),
        ("arrays.pth", {k: v.numpy() for k, v in STATE.items()}),
    ],
)
def test_containers_are_opened(tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / name)
    assert same(read_state(tmp_path / name)[0])
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_state(tmp_path / "old.pth")[0])


def test_averaged_weights_come_first_and_that_is_said(tmp_path: Path) -> None:
    other = {k: v + 1 for k, v in STATE.items()}
    torch.save({"state_dict": other, "state_dict_ema": STATE}, tmp_path / "w.pth")
    torch.save({"student": other, "teacher": STATE}, tmp_path / "dino.pth")
    for name, key in (("w.pth", "state_dict_ema"), ("dino.pth", "teacher")):
        state, notes = read_state(tmp_path / name)
        assert same(state)
        assert notes == [f"its {key} was taken"]


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    torch.save(STATE | {"epoch": 3}, tmp_path / "w.pth")
    state, notes = read_state(tmp_path / "w.pth")
    assert same(state)
    assert notes == ["no tensors, left out: epoch"]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ['EVIL']}",)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_that_would_run_something_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    torch.save(
        {"state_dict": STATE, "x": Evil()}, tmp_path / "w.pth", _use_new_zipfile_serialization=new
    )
    with pytest.raises(CheckpointError, match=r"posix\.system.*torch\.save\(model\.state_dict"):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"objects of torch\.nn\.modules\.\S+.*state_dict"):
        read_state(tmp_path / "w.pth")


def shard_folder(root: Path) -> Path:
    root.mkdir()
    parts = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for part, name in zip(parts, STATE, strict=True):
        save_file({name: STATE[name]}, root / part)
    index = {"weight_map": dict(zip(STATE, parts, strict=True))}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    return root


def test_shards_are_read_together_from_any_of_them(tmp_path: Path) -> None:
    root = shard_folder(tmp_path / "hub")
    for place in (root, *root.iterdir()):
        assert same(read_state(place)[0])
    (root / "model.safetensors.index.json").unlink()
    assert same(read_state(root)[0])
    (root / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match="one of 2 parts.*model-00001-of-00002.safetensors is"
    ):
        read_state(root / "model-00002-of-00002.safetensors")


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_archives_are_unpacked(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    torch.save(STATE, tmp_path / "in" / "w.pth")
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "in")
    assert same(read_state(Path(archive))[0])


def test_a_folder_with_several_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save(STATE, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"there are 2 \(a\.pth, b\.pth\): name the file"):
        read_state(tmp_path)
    with pytest.raises(CheckpointError, match="there are none"):
        read_state(
            Path(
                shutil.copytree(tmp_path, tmp_path / "empty", ignore=lambda *_: ["a.pth", "b.pth"])
            )
        )


def test_suffixes_lie(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.pth")
    assert same(read_state(tmp_path / "w.pth")[0])
    torch.save(STATE, tmp_path / "w.safetensors")
    assert same(read_state(tmp_path / "w.safetensors")[0])


def cut_short(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return make


def in_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps([1, 2]))


def in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), str(path))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda p: p.write_text("<!DOCTYPE html><html>404</html>"), "is a web page"),
        (lambda p: p.write_text("\n<HTML>"), "is a web page"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), "git lfs pull"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "Keras file"),
        (lambda p: p.write_bytes(gzip.compress(b"weights")), "gunzip it first"),
        (lambda p: np.savez(p.open("wb"), a=np.ones(2)), "JAX"),
        (cut_short(lambda p: save_file(STATE, p)), "is cut short or damaged"),
        (cut_short(lambda p: torch.save(STATE, p)), "is cut short or damaged"),
        (
            cut_short(lambda p: torch.save(STATE, p, _use_new_zipfile_serialization=False)),
            "is cut short or damaged",
        ),
        (scripted, "TorchScript.*state_dict"),
        (in_pickle, "expected|holds no state dict"),
        (in_zip, "there are none"),
        (lambda p: p.write_text("no weights"), "cannot be read as weights"),
        (lambda p: torch.save([1, 2], p), "holds no state dict.*found a list"),
        (lambda p: torch.save({"epoch": 1}, p), "holds no state dict.*entries epoch"),
        (lambda p: torch.save({"state_dict": STATE, "prefix_key": "x"}, p), "give its run folder"),
    ],
)
def test_everything_else_is_told_by_what_it_is(
    tmp_path: Path, make: Callable[[Path], Any], said: str
) -> None:
    make(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=said) as error:
        read_state(tmp_path / "w.pth")
    assert "\n" not in str(error.value)
