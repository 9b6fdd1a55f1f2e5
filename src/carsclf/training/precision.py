"""What `trainer.precision=auto` and `model.channels_last=auto` stand for: measured once, kept.

Which precision and memory layout is fastest depends on the processor and on the network: depthwise
networks can train slower in bfloat16 + channels_last than in float32 + channels_last. Master
weights stay float32 whatever is chosen.
"""

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import CheckpointError, ConfigError
from carsclf.records import atomic_write, cache_root

AUTO, FULL = "auto", "32-true"
PRECISIONS = (FULL, "bf16-mixed", "16-mixed")
BUDGET = 3.0  # seconds after which no further round begins
LONGEST = 1.0  # seconds a step of the measurement should take at most, on a CPU
ROUNDS = 5
HOPELESS = 1.3  # times the fastest: not measured again
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


Step = Callable[[], object]
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
        with torch.random.fork_rng():  # a training is the same whether this was known or not
            pictures = _affordable(most, steps(choices[-1:], device, 2), device)
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
    precisions = [FULL, *_mixed(device)] if precision == AUTO else [precision]
    layouts = [False, True] if layout == AUTO else [layout]
    return [Choice(p, c) for p in precisions for c in layouts]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """What Lightning's precision plugin puts around a step."""
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != FULL)


def timings(steps: dict[Choice, Step], device: torch.device) -> dict[Choice, float]:
    """Milliseconds per step: medians over rounds in which the candidates take turns."""
    times: dict[Choice, list[float]] = {choice: [] for choice in steps}
    racing, began = list(steps), time.perf_counter()
    for turn in range(1 + ROUNDS):
        for choice in racing:
            times[choice].append(_timed(steps[choice], device))
        spent = time.perf_counter() - began
        if turn or spent > BUDGET / 2:  # short first steps tell little
            limit = HOPELESS * min(_median(times[choice]) for choice in racing)
            racing = [choice for choice in racing if _median(times[choice]) <= limit]
        if spent > BUDGET:
            break
    return {choice: 1000 * _median(each) for choice, each in times.items()}


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


def device_name(device: torch.device) -> str:
    """What the processor calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def bf16_instructions() -> list[str]:
    """The processor's own instructions for bfloat16, by Linux's names; elsewhere none are known."""
    flags = f"{_cpuinfo().get('flags', '')} {_cpuinfo().get('Features', '')}".split()
    return [flag for flag in ("avx512_bf16", "amx_bf16", "bf16") if flag in flags]


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


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


def _timed(step: Step, device: torch.device) -> float:
    # on one thread, as in a study with a core per trial, what the neighbours do must not count
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    step()
    if device.type != "cpu":  # what was asked of an accelerator is not done yet
        torch.accelerator.synchronize()
    return clock() - began


def _affordable(most: int, steps: dict[Choice, Step], device: torch.device) -> int:
    """Pictures per step: few where one takes long, many where the update would else outweigh it.

    What bfloat16 gains grows with the batch, as weights are cast and updated once per step.
    """
    (step,) = steps.values()
    seconds, pictures = _timed(step, device) / 2, 2
    while 2 * pictures <= most and (device.type != "cpu" or 2 * pictures * seconds <= LONGEST):
        pictures *= 2
    return pictures


def _median(times: list[float]) -> float:
    """Without the first, which pays for allocations, unless it is all there is: it took long."""
    return median(times[1:] or times)


def _read(note: Path) -> Choice | None:
    try:
        kept = json.loads(note.read_text())
        return Choice(str(kept["precision"]), bool(kept["channels_last"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: measured anew
