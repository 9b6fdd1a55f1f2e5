"""Processors: which there are, what they are called, and what they have instructions for."""

import os
import platform
from functools import cache
from pathlib import Path

import torch

from carsclf.errors import ConfigError

SHARE = "CARSCLF_CORES"
"""Environment variable: cores of a trial, beside which others run on the same machine."""


def pick_device(device: str) -> torch.device:
    """`auto`: CUDA, then Apple's MPS, then the CPU. Raises ConfigError for what is not here."""
    if device != "auto":
        return _here(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _here(device: str) -> torch.device:
    cards = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    here = ["cpu", *(["cuda", *cards] if cards else [])]
    if torch.backends.mps.is_available():
        here.append("mps")
    if device not in here:
        raise ConfigError(
            f"device={device}: expected auto, or what this machine has: {', '.join(here)}"
        )
    return torch.device(device)


def available_cores() -> int:
    """Cores this process may use, which a scheduler or `taskset` may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_cores() -> int:
    """Of them those that nobody else is to use for long: a trial's share of its machine."""
    return min(available_cores(), int(os.environ.get(SHARE, available_cores())))


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
