"""Weights files of any making, read without running anything that is in them."""

import argparse
import collections
import json
import pathlib
import pickle
import re
import shutil
import tarfile
import tempfile
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.torch_version import TorchVersion

from carsclf.errors import CheckpointError

StateDict = dict[str, torch.Tensor]

# where training scripts put a state dict; averaged weights first, as timm takes them
CONTAINERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher", "params_ema"),
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"),
    *("weights", "params", "backbone", "encoder", "student"),
)
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar", ".npz")
SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")
# what training scripts keep beside weights, and what cannot do anything when it is made
HARMLESS: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    collections.defaultdict,
    *((pathlib.PurePath, f"pathlib.{name}") for name in ("PosixPath", "WindowsPath")),
    *((pathlib.PurePath, f"pathlib._local.{name}") for name in ("PosixPath", "WindowsPath")),
    *(  # how numpy numbers and arrays are made again, under its old and its new name
        (value.__reduce__()[0], f"numpy.{core}.multiarray.{name}")
        for value, name in ((np.float64(0), "scalar"), (np.ones(1), "_reconstruct"))
        for core in ("core", "_core")
    ),
    *(np.dtype, np.ndarray, TorchVersion),
    *(kind for kind in vars(np.dtypes).values() if isinstance(kind, type)),
]
STARTS = {  # what stands in the place of weights when something went wrong on the way
    rb"\s*<(!doctype|html|head|\?xml)": "is a web page, not weights: the link led to a page about "
    "the file (on a hub, take the link with /resolve/ in it)",
    rb"version https://git-lfs": "is a pointer to weights that were not fetched: git lfs pull",
    rb"\x89HDF": "is a Keras file (HDF5), not PyTorch's: timm has most networks, under model.name",
    rb"\x1f\x8b": "is packed with gzip: gunzip it first",
    rb"(7z\xbc\xaf|Rar!)": "is a packed archive: unpack it first, and give the weights inside",
}


def read_state(path: Path) -> tuple[StateDict, list[str]]:
    """Names and tensors of a file, an archive of it, its shards, or the folder that holds it.

    The notes say what was chosen or left out. Raises CheckpointError with what the file is instead.
    """
    if path.is_file() and _is_archive(path):
        with tempfile.TemporaryDirectory() as folder:
            try:
                _unpack(path, folder)
            except (OSError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
                raise CheckpointError(f"{path} cannot be unpacked ({short(error)})") from None
            return read_state(Path(folder))
    state: StateDict = {}
    notes: list[str] = []
    for file in _files(path):
        part, said = _state_in(_loaded(file), file)
        state |= part
        notes += said
    return state, notes


def told_inside(path: Path) -> dict[str, str]:
    """What a safetensors file (the first of its shards) says of itself; {} for other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_files(path)[0], framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def short(error: BaseException | str, length: int = 160) -> str:
    """An error's text in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < length else text[: length - 3] + "..."


def _is_archive(path: Path) -> bool:
    """Archives that hold weights files: PyTorch's own files are zips too, its oldest are tars."""
    if tarfile.is_tarfile(path):  # first: a zip stored at a tar's end makes it look like one
        with tarfile.open(path) as archive:
            return "pickle" not in archive.getnames()
    if zipfile.is_zipfile(path):
        return not any(n.endswith(("data.pkl", ".npy")) for n in zipfile.ZipFile(path).namelist())
    return False


def _unpack(path: Path, folder: str) -> None:
    """By content, as names lie; of a tar nothing may leave the folder."""
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    else:
        shutil.unpack_archive(path, folder, "zip")


def _files(path: Path) -> list[Path]:
    """The file, or all shards of what it belongs to, or what lies in the folder."""
    if path.is_dir():
        return _files(_only_weights(path))
    if path.name.endswith(".index.json"):
        try:
            names = sorted(set(json.loads(path.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} is no index of shards ({short(error)})") from None
        return _all_there(path, [path.with_name(name) for name in names])
    if SHARD.search(path.name):
        total = int(path.name.split("-of-")[1][:5])
        parts = [f"-{i:05}-of-{total:05}" for i in range(1, total + 1)]
        return _all_there(path, [path.with_name(SHARD.sub(p, path.name)) for p in parts])
    return [path]


def _all_there(path: Path, shards: list[Path]) -> list[Path]:
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise CheckpointError(
            f"{path} is one of {len(shards)} parts, and beside it {', '.join(missing[:3])} is not "
            "there: fetch all parts into one folder"
        )
    return shards


def _only_weights(folder: Path) -> Path:
    """As hubs, timm and this project lay weights out, or else the only weights file there is."""
    for name in ("model.safetensors", "model.safetensors.index.json"):
        if (folder / name).is_file():
            return folder / name
    found = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    whole = [p for p in found if not SHARD.search(p.name)]
    if len(whole) > 1 or not found:
        names = ", ".join(str(p.relative_to(folder)) for p in whole[:5]) or "none"
        raise CheckpointError(
            f"{folder}: expected a run folder or one weights file in it, and there are "
            f"{len(whole) or 'none'}{f' ({names})' if whole else ''}: name the file itself"
        )
    return (whole or found)[0]


def _loaded(path: Path) -> Any:
    """The object in a file, by content: suffixes lie."""
    from safetensors.torch import load_file

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    if size == 0:
        raise CheckpointError(f"{path} is empty (0 bytes): fetch it again")
    for pattern, meaning in STARTS.items():
        if re.match(pattern, start, re.IGNORECASE):
            raise CheckpointError(f"{path} {meaning}")
    try:
        if start[8:9] == b"{":
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own
        raise CheckpointError(f"{path} {_reason(path, error, size)}") from None


def _reason(path: Path, error: Exception, size: int) -> str:
    text = str(error)
    if zipfile.is_zipfile(path) and any(
        n.endswith(".npy") for n in zipfile.ZipFile(path).namelist()
    ):
        return "is numpy's (.npz), as JAX trainings write: timm has these converted, by model.name"
    if "TorchScript" in text:
        return (
            "is a TorchScript archive: take its weights out once with torch.save("
            "torch.jit.load('file').state_dict(), 'weights.pth')"
        )
    if wanted := _classes(path, text):
        return (
            f"is a pickle that would make objects of {', '.join(wanted[:3])}, which may run "
            "anything, so it is not opened: where it was made, save the weights alone, with "
            "torch.save(model.state_dict(), 'weights.pth')"
        )
    cut = ("central directory", "Ran out of input", "unexpected EOF", "not fully covered")
    broken = path.read_bytes()[:2] == b"PK" and not zipfile.is_zipfile(path)
    if (
        broken
        or isinstance(error, EOFError)
        or any(words in text for words in (*cut, "header too"))
    ):
        return f"is cut short or damaged ({size} bytes): fetch it again"
    return (
        f"cannot be read as weights ({short(error)}): expected safetensors, or a state dict that "
        "torch.save wrote"
    )


def _classes(path: Path, text: str) -> list[str]:
    """What a pickle wants beyond numbers: all of it where torch can tell, else the first."""
    first = re.findall(r"(?:GLOBAL|[Uu]nsupported (?:class|global:?)) ([\w.]+\.[\w.]+)", text)
    if not first:
        return []
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.serialization.get_unsafe_globals_in_checkpoint(str(path)) or first
    except (ValueError, RuntimeError, pickle.UnpicklingError):  # only newer files can be asked
        return first


def _state_in(loaded: Any, path: Path) -> tuple[StateDict, list[str]]:
    """The state dict in what was loaded, below whatever a training script put around it."""
    notes, place = [], loaded
    while isinstance(place, Mapping) and (key := _container(place)):
        if key not in ("state_dict", "model", "model_state_dict"):
            notes.append(f"its {key} was taken")
        if isinstance(arch := place.get("arch"), str):
            notes.append(f"it says arch={arch}")
        place = place[key]
    tensors = _tensors(place)
    if not tensors:
        what = f"entries {', '.join(map(str, [*place][:6]))}" if isinstance(place, Mapping) else ""
        raise CheckpointError(
            f"{path} holds no state dict: expected names and tensors, found "
            f"{what or f'a {type(place).__name__}'}"
        )
    if "prefix_key" in loaded:
        raise CheckpointError(
            f"{path} is to resume a training, and leaves out the frozen part: give its run folder, "
            "whose model.safetensors is whole"
        )
    if others := [str(name) for name in place if name not in tensors]:
        notes.append(f"no tensors, left out: {', '.join(others[:3])}")
    return tensors, notes


def _tensors(place: Any) -> StateDict:
    if not isinstance(place, Mapping):
        return {}
    numbers = {k: v for k, v in place.items() if isinstance(k, str)}
    made = {
        k: torch.from_numpy(v) if isinstance(v, np.ndarray) and v.dtype.kind in "fiub" else v
        for k, v in numbers.items()
    }
    return {k: v.detach() for k, v in made.items() if torch.is_tensor(v)}


def _container(place: Mapping[Any, Any]) -> str | None:
    """The entry with the weights; None where this is a state dict itself."""
    inside = [k for k, v in place.items() if isinstance(k, str) and _holds_tensors(v)]
    known = [key for key in CONTAINERS if key in inside]
    if known:
        return known[0]
    others = [key for key in inside if "optim" not in key]
    return others[0] if len(others) == 1 and len(_tensors(place)) <= len(place) // 2 else None


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and (bool(_tensors(value)) or _container(value) is not None)
