"""What a network costs on this machine: a short measurement, a second for each figure."""

from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig
from torch import nn

from carsclf.advising.shortcut import half_way
from carsclf.errors import ConfigError
from carsclf.machine.memory import free_memory, peak_memory
from carsclf.machine.timing import Step, affordable, pace
from carsclf.training.timed_steps import settle_training, timed_steps

SECONDS = 1.0  # for each figure, unless a single step takes longer
LARGEST = 32  # pictures that are predicted at once
TRAINED = 68
"""Bytes of a parameter while precisions are timed side by side: the network, copies of it in both
layouts with their gradients, and AdamW's two means of each that is timed."""


class NoRoom(ConfigError):
    """A network that the memory here does not hold in training."""


@dataclass(frozen=True)
class Speed:
    """Pictures a second in batches, milliseconds of one answer, pictures a second trained, MB.

    boundary: up to which it may be frozen; then pictures a second trained on what is kept, and
    bytes kept of each. Empty and None where it cannot be cut.
    """

    predict_rate: float
    answer_ms: float
    train_rate: float
    memory_mb: float | None  # None: nothing here tells
    boundary: str = ""
    kept_rate: float | None = None
    kept_bytes: int | None = None


def measured(config: DictConfig, network: nn.Module, device: torch.device) -> Speed:
    """Speeds of a network at `data.image_size`, trained whole, in batches of `data.batch_size`.

    Pictures are made up in memory, and predictions are in float32, as features are. Raises NoRoom.
    """
    rate, answer = predicting(network, config.data.image_size, device, config.data.batch_size)
    config, choice = settle_training(config, network, device)
    make = timed_steps(config, network, None, cached=False)

    def step_of(pictures: int) -> Step:
        return make([choice], device, pictures)[choice]

    small, peak = _with_peak(step_of, 2, device)
    most = min(config.data.batch_size, 16 if device.type == "cpu" else LARGEST)
    pictures = affordable(most, small, device)
    room = free_memory(device)
    while peak is not None and pictures > 2 and peak * pictures / 2 > room:
        pictures //= 2
    step, higher = _with_peak(step_of, pictures, device)
    needed = extrapolated({2: peak, pictures: higher}, config.data.batch_size)
    check_room(needed, room, f"with data.batch_size={config.data.batch_size}")
    seconds = pace(step, device, SECONDS)
    found = Speed(rate, answer, pictures / seconds, None if needed is None else needed / 1e6)
    place = half_way(network.cpu(), config.data.image_size)  # networks are cut where they are made
    if place is None:
        return found
    boundary, kept_bytes = place
    kept = timed_steps(config, network, boundary, cached=True)([choice], device, pictures)[choice]
    return replace(
        found,
        boundary=boundary,
        kept_rate=pictures / pace(kept, device, SECONDS),
        kept_bytes=kept_bytes,
    )


def predicting(
    network: nn.Module, size: int, device: torch.device, most: int = LARGEST
) -> tuple[float, float]:
    """Pictures a second in batches, and milliseconds of one alone."""
    network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.rand(max(2, min(most, LARGEST)), 3, size, size, device=device)
    batch = batch.to(memory_format=torch.channels_last)

    def step_of(pictures: int) -> Step:
        def step() -> None:
            with torch.inference_mode():
                network(batch[:pictures])

        return step

    alone = pace(step_of(1), device, SECONDS)
    pictures = affordable(len(batch), step_of(2), device)
    seconds = pace(step_of(pictures), device, SECONDS)
    return pictures / seconds, 1000 * alone


def check_parameters(parameters: int, device: torch.device) -> None:
    """Raises NoRoom for a network whose parameters alone do not fit, before it is made."""
    check_room(
        TRAINED * parameters, free_memory(device), f"of {parameters / 1e6:,.0f} M parameters"
    )


def check_room(needed: float | None, room: float, what: str) -> None:
    if needed is not None and needed > room:
        raise NoRoom(
            f"a training step {what} takes about {needed / 1e9:.1f} GB of memory, and "
            f"{room / 1e9:.1f} GB are free"
        )


def extrapolated(peaks: dict[int, float | None], pictures: int) -> float | None:
    """The bytes of a step of so many pictures: a line through two measured numbers of them."""
    known = sorted((n, peak) for n, peak in peaks.items() if peak is not None)
    if len(known) < 2:
        return known[0][1] if known else None
    (few, low), (many, high) = known[0], known[-1]
    return high + max(0.0, (high - low) / (many - few)) * (pictures - many)


def _with_peak(step_of, pictures: int, device: torch.device) -> tuple[Step, float | None]:
    """A step of so many pictures, done once, and the memory that its making and doing took."""
    steps: list[Step] = []

    def work() -> None:
        steps.append(step_of(pictures))
        steps[0]()

    peak = peak_memory(work, device)
    return steps[0], peak
