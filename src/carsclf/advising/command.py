"""`advise.py`: one advice, new or gone on with, stage by stage."""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from carsclf.advising.advice import Advice, AdviceFolder, Stage, run_stages
from carsclf.advising.candidates import candidates, candidates_of
from carsclf.advising.carry_out import carry_out
from carsclf.advising.choose import choose, plan_anew
from carsclf.advising.growth import growth
from carsclf.advising.ledger import Ledger
from carsclf.advising.look import look
from carsclf.advising.plan import for_heads
from carsclf.advising.probe import probe
from carsclf.errors import CarsclfError, CheckpointError, ConfigError, one_line
from carsclf.files import atomic_write
from carsclf.machine.devices import pick_device
from carsclf.machine.memory import keep_freed_memory
from carsclf.options.advise import ADVISE
from carsclf.options.command_line import argument, read_overrides
from carsclf.options.kinds import checked, plain
from carsclf.training.checks import check_lengths
from carsclf.training.configuration import SEARCH_GROUPS, check_changing, training_part
from carsclf.training.gan_checks import refuse_gan
from carsclf.training.leak import refuse_leak
from carsclf.training.run import quiet

STAGES: tuple[Stage, ...] = (look, candidates, probe, growth, choose, carry_out)
OWN = (*SEARCH_GROUPS, *(key.partition(".")[0] for key in ADVISE), "shortlist", "look", "hydra")
DECIDED = {
    "model": "the network is what is advised: candidates=[...] says among which",
    "mode": "the mode is what is advised",
    "optimizer": "how is trained goes with the mode, which is what is advised",
    "trainer.max_epochs": "how long is what is advised, and plan.epochs=<n> decides it",
    "schedule": "how is trained goes with the mode, which is what is advised",
}
DEVICES = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}  # Lightning's words


def advise(config: DictConfig, began: float | None = None, further: Sequence[Stage] = ()) -> str:
    """Runs the stages that are left of an advice, and `further` ones; returns its folder.

    began: when the command did, by `time.monotonic()`: its imports take of the hours too.
    """
    config = checked(config, ADVISE)
    if config.resume:
        plan = config.plan
        folder, config, overrides = resumed(Path(config.resume))
        config.plan = planned(folder, plan)
    else:
        overrides = training_overrides(config)
        folder = folder_of(config, overrides)
        config.plan = planned(folder, config.plan)
    advice = advice_of(folder, config, overrides)
    quiet()
    keep_freed_memory()
    try:
        with alone(folder), advice.ledger.running(began):
            if not folder.config.is_file():
                save(folder, config, overrides)
            plan_anew(advice)
            save(folder, config, overrides)  # another plan stands there once it can be made
            run_stages(advice, (*STAGES, *further))
    except KeyboardInterrupt:
        again = argument("resume", folder.root)
        raise CarsclfError(f"interrupted; go on with: python advise.py {again}") from None
    print(f"advice: {folder.root}")
    return str(folder.root)


def training_overrides(config: DictConfig) -> list[str]:
    """What of the command line is the training's."""
    told = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    for override in told:
        key = str(override.key_or_group)
        if reason := DECIDED.get(key) or DECIDED.get(_group(override)):
            raise ConfigError(f"{override.input_line}: {reason}")
    if config.mode.name != "finetune":
        raise ConfigError(f"an experiment chose mode={config.mode.name}: {DECIDED['mode']}")
    skip = str(config.data.skip_unreadable).lower()
    own = [str(o.input_line) for o in told if _group(o) not in OWN]
    return [f"data.skip_unreadable={skip}", *device_overrides(config.device), *own]


def _group(override: Override) -> str:
    return str(override.key_or_group).partition(".")[0]


def device_overrides(device: str) -> list[str]:
    """The trainer's words for a device; raises ConfigError for what is not here."""
    if device == "auto":
        return []
    pick_device(device)
    kind, _, number = device.partition(":")
    return [
        f"trainer.accelerator={DEVICES[kind]}",
        *([f"trainer.devices=[{number}]"] * bool(number)),
    ]


def advice_of(folder: AdviceFolder, config: DictConfig, overrides: Sequence[str]) -> Advice:
    """Raises ConfigError for what a training could not take."""
    training = training_part(compose("train", ["look=false", *overrides]))
    refuse_gan(training)
    refuse_leak(training)
    weights = Path(config.weights).expanduser().resolve() if config.weights else None
    if weights is not None and not weights.is_dir():
        raise ConfigError(
            f"weights={config.weights} is no folder: expected one of files named as timm names "
            "their networks, such as resnet18.safetensors"
        )
    asked = plain(config.candidates)
    candidates_of(asked, weights)  # raises what is wrong with them
    check_others(overrides)
    return Advice(
        folder=folder,
        training=training,
        overrides=overrides,
        hours=config.hours,
        latency_ms=config.latency_ms,
        candidates=asked,
        weights=weights,
        ledger=Ledger(folder.time, config.hours),
        plan=plain(config.plan),
    )


def check_others(overrides: Sequence[str]) -> None:
    """Refuses what the head that is trained beside, or a training of one epoch, does not take.

    They would be refused when time has been spent.
    """
    head = [*for_heads(overrides), "mode=freeze", "trainer.precision=32-true"]
    others = {"a frozen head": head, "short ones": [*overrides, "trainer.max_epochs=1"]}
    for what, told in others.items():
        try:
            training = training_part(compose("train", ["look=false", *told]))
            check_changing(training)
            check_lengths(training)
        except ConfigError as error:
            raise ConfigError(
                f"beside a training advise.py needs {what}, and {one_line(error)}"
            ) from None


@contextmanager
def alone(folder: AdviceFolder) -> Iterator[None]:
    """Refuses a folder that another advise.py works in."""
    folder.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.lock, timeout=0):
            yield
    except Timeout:
        raise CheckpointError(f"{folder.root} is being worked on by another advise.py") from None


def save(folder: AdviceFolder, config: DictConfig, overrides: Sequence[str]) -> None:
    """Writes what was asked, where it does not stand there yet."""
    text = OmegaConf.to_yaml(question(config), resolve=True)
    if folder.config.is_file() and folder.config.read_text(encoding="utf-8") == text:
        return
    with atomic_write(folder.overrides) as temporary:
        temporary.write_text(yaml.safe_dump(list(overrides), width=1000, allow_unicode=True))
    with atomic_write(folder.config) as temporary:  # the last: without it nothing was begun
        temporary.write_text(text)


def question(config: DictConfig) -> DictConfig:
    """The configuration without what only names or resumes."""
    config = config.copy()
    with open_dict(config):
        for key in ("name", "runs", "resume", "hydra"):
            config.pop(key, None)
    return config


def folder_of(config: DictConfig, overrides: Sequence[str]) -> AdviceFolder:
    """A new folder, or the one of this name, where it holds the same question."""
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    name = config.name or f"{config.data.name}-{config.hours:g}h-{stamp}"
    folder = AdviceFolder(Path(config.runs).resolve() / name)
    if folder.config.is_file():
        before, now = OmegaConf.load(folder.config), question(config)
        before.plan = now.plan  # which may change
        if OmegaConf.to_yaml(before) != OmegaConf.to_yaml(now, resolve=True):
            raise ConfigError(
                f"{folder.root} holds an advice that was asked otherwise: choose another name=, or "
                f"{argument('resume', folder.root)} alone"
            )
    return folder


def planned(folder: AdviceFolder, plan: DictConfig) -> DictConfig:
    """The plan as it is asked for now, or where nothing is asked as it was before."""
    told = any(o.startswith("plan.") for o in HydraConfig.get().overrides.task)
    if told or not folder.config.is_file():
        return plan
    before: Any = OmegaConf.load(folder.config)
    return before.get("plan", plan)


def resumed(root: Path) -> tuple[AdviceFolder, DictConfig, list[str]]:
    """An advice as it was asked; beside `resume=` only another plan is taken."""
    told = [o for o in HydraConfig.get().overrides.task if not o.startswith("resume=")]
    others = [o for o in told if not o.startswith("plan.")]
    if others:
        raise ConfigError(f"resume={root} goes on as it was asked; remove {' '.join(others)}")
    folder = AdviceFolder(root.expanduser().resolve())
    if not folder.config.is_file():
        raise CheckpointError(f"resume={root}: no config.yaml there; is it an advice's folder?")
    try:
        config: Any = OmegaConf.load(folder.config)
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"{folder.config} cannot be read: {said}") from None
    return folder, config, read_overrides(folder.overrides)
