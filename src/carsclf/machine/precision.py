"""What `trainer.precision=auto` and `model.channels_last=auto` stand for: measured once, kept.

Which precision and memory layout is fastest depends on the processor and on the network: depthwise
networks can train slower in bfloat16 + channels_last than in float32 + channels_last. Master
weights stay float32 whatever is chosen.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import atomic_write, cache_root
from carsclf.machine.devices import bf16_instructions, device_name
from carsclf.machine.timing import Step, affordable, timings

AUTO, FULL = "auto", "32-true"
PRECISIONS = (FULL, "bf16-mixed", "16-mixed")
EQUAL = 0.95  # float32 is taken where nothing else saves more than 5 %


@dataclass(frozen=True)
class Choice:
    """A precision (Lightning's names) and a memory layout."""

    precision: str
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision} {'channels_last' if self.channels_last else 'contiguous'}"

    @property
    def overrides(self) -> list[str]:
        return [
            f"trainer.precision={self.precision}",
            f"model.channels_last={str(self.channels_last).lower()}",
        ]


Steps = Callable[[list[Choice], torch.device, int], dict[Choice, Step]]


def check_precision(config: DictConfig) -> None:
    """Raises ConfigError for values that are none of ours."""
    model, precision = config.model, config.trainer.precision
    if precision not in (AUTO, *PRECISIONS):
        raise ConfigError(
            f"trainer.precision={precision}: expected {AUTO}, {', '.join(PRECISIONS)}; master "
            "weights stay float32"
        )
    if precision == "16-mixed" and config.trainer.accelerator == "cpu":
        raise ConfigError("trainer.precision=16-mixed needs a GPU; here bf16-mixed or 32-true")
    if precision == "16-mixed" and config.trainer.get("gradient_clip_val"):
        raise ConfigError(
            "trainer.precision=16-mixed scales its gradients, which trainer.gradient_clip_val "
            "would clip as they are: expected 32-true or bf16-mixed with it"
        )
    if model.channels_last != AUTO and not isinstance(model.channels_last, bool):
        raise ConfigError(f"model.channels_last={model.channels_last}: expected auto, true, false")
    if not isinstance(model.compile, bool):
        raise ConfigError(f"model.compile={model.compile}: expected true or false")


def settle(
    config: DictConfig, device: torch.device, steps: Steps, **matter: Any
) -> tuple[DictConfig, Choice]:
    """The configuration with `auto` replaced by what is fastest on this machine, and the choice.

    steps(choices, device, pictures) makes what is to be timed; `matter` is all that it depends on
    besides the processor, and so the key under which the result is found again.
    """
    most = max(2, min(config.data.batch_size, 16 if device.type == "cpu" else 64))
    choices = candidates(config, device)
    matter |= {"pictures": most, "choices": [str(choice) for choice in choices]}

    def measure() -> dict[Choice, float]:
        # a training is the same whether this was known or not; other cards are left alone
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            (step,) = steps(choices[-1:], device, 2).values()
            pictures = affordable(most, step, device)
            each = timings(steps(choices, device, pictures), device)
        return {choice: round(value / pictures, 2) for choice, value in each.items()}

    choice = choices[0]
    if len(choices) > 1:
        choice = remembered(matter | _machine(device), measure)
    config = config.copy()
    config.trainer.precision, config.model.channels_last = choice.precision, choice.channels_last
    return config, choice


def adopt(config: DictConfig, kept: DictConfig) -> DictConfig:
    """The configuration with `auto` replaced by what an earlier part of the run settled on."""
    config = config.copy()
    for key in ("trainer.precision", "model.channels_last"):
        before = OmegaConf.select(kept, key)
        if OmegaConf.select(config, key) == AUTO and before is not None:
            OmegaConf.update(config, key, before)
    return config


def candidates(config: DictConfig, device: torch.device) -> list[Choice]:
    """What may be chosen: all that `auto` leaves open and the device has instructions for."""
    precision, layout = config.trainer.precision, config.model.channels_last
    mixed = _mixed(device)
    if config.trainer.get("gradient_clip_val"):
        mixed = [name for name in mixed if name != "16-mixed"]
    precisions = [FULL, *mixed] if precision == AUTO else [precision]
    layouts = [False, True] if layout == AUTO else [layout]
    return [Choice(p, c) for p in precisions for c in layouts]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """What Lightning's precision plugin puts around a step."""
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != FULL)


def fastest(milliseconds: dict[Choice, float]) -> Choice:
    """The fastest, float32 where that is as good as equal."""

    def handicapped(choice: Choice) -> float:
        return milliseconds[choice] * (EQUAL if choice.precision == FULL else 1)

    return min(milliseconds, key=handicapped)


def remembered(key: dict[str, Any], measure: Callable[[], dict[Choice, float]]) -> Choice:
    """The choice under a key; measured and told in one line where it is new.

    Whoever measures holds the lock, so that others wait (and do not disturb it) and find it.
    """
    folder = cache_root() / "precision"
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=16).hexdigest()
    note = folder / f"{digest}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if (known := _read(note)) is not None:
                return known
            milliseconds = measure()
            choice = fastest(milliseconds)
            told = {str(c): ms for c, ms in milliseconds.items()}
            kept = {"precision": choice.precision, "channels_last": choice.channels_last}
            with atomic_write(note) as temporary:
                temporary.write_text(
                    json.dumps({**kept, "milliseconds": told, "key": key}, indent=2)
                )
    except (OSError, CheckpointError) as error:
        raise CheckpointError(
            f"the measured precision cannot be remembered below {folder} ({error}): choose another "
            "place with CARSCLF_CACHE=<folder>, or set trainer.precision and model.channels_last"
        ) from error
    listed = ", ".join(f"{name} {ms:g}" for name, ms in told.items())
    print(f"fastest here: {choice} (ms per picture: {listed})", file=sys.stderr)
    return choice


def _mixed(device: torch.device) -> list[str]:
    if device.type == "cuda":  # emulated bfloat16, before Ampere, is slower than float16
        return ["bf16-mixed" if torch.cuda.get_device_capability(device) >= (8, 0) else "16-mixed"]
    return ["bf16-mixed"] if device.type == "cpu" and bf16_instructions() else []


def _machine(device: torch.device) -> dict[str, Any]:
    """The kind of machine rather than its name: a cluster's equal machines choose alike."""
    return {
        "device": f"{device.type} {device_name(device)}",
        "bf16": bf16_instructions() if device.type == "cpu" else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _read(note: Path) -> Choice | None:
    try:
        kept = json.loads(note.read_text())
        return Choice(str(kept["precision"]), bool(kept["channels_last"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: measured anew
