"""Schedule-free optimizers: weights that take the steps, and their average, which is judged.

Both lie in the same parameters, one at a time (Defazio et al. 2024): the optimizer's `train()` puts
there what gradients are taken at, its `eval()` the average. Each epoch ends with the average,
validated or not, and the next begins with the other, so that a checkpoint holds what a run that was
left alone has at that moment: rounding is then the same after a resume.
"""

from typing import Any

from omegaconf import DictConfig
from torch.optim import Optimizer

from carsclf.errors import ConfigError

NAME = "schedule_free"


def library() -> Any:
    """Meta's `schedulefree`; raises ConfigError where it is not installed."""
    try:
        import schedulefree
    except ImportError:
        raise ConfigError(
            f"optimizer={NAME} needs schedulefree: pip install 'carsclf[schedule-free]'"
        ) from None
    return schedulefree


def take_steps(optimizer: Any) -> None:
    """Puts the weights that take steps into the network; of other optimizers nothing changes."""
    if _two(optimizer):
        optimizer.train()


def take_average(optimizer: Any) -> bool:
    """Puts the average into the network; False for optimizers that have none."""
    if two := _two(optimizer):
        optimizer.eval()
    return two


def at_rate_itself(optimizer: Optimizer) -> Optimizer:
    """Without a warm-up of its own: for steps whose rates are set from outside."""
    for group in optimizer.param_groups:
        if "warmup_steps" in group:
            group["warmup_steps"] = 0
    return optimizer


def warmed(group: dict[str, Any], done: int) -> float:
    """A group's rate after so many steps, the optimizer's own warm-up included."""
    return group["lr"] * min(1.0, (done + 1) / (group.get("warmup_steps", 0) or 1))


def check_schedule_free(config: DictConfig) -> None:
    """Refuses what would average or lower the rate a second time, or count other steps."""
    if not str(config.optimizer._target_).endswith(f".{NAME}"):
        return
    library()
    chosen = {
        group: str(config[group]._target_).rpartition(".")[2]
        for group in ("schedule", "averaging", "unfreezing")
        if group in config
    }
    wrong = {
        "schedule=constant: its average takes the place of a rate that falls, and "
        "optimizer.warmup_epochs is its warm-up": chosen["schedule"] != "constant",
        "averaging=none: what it gives to be judged is an average": chosen.get("averaging", "none")
        != "none",
        "unfreezing=none: its average and its corrections count all steps, also those before a "
        "stage begins": chosen.get("unfreezing", "none") != "none",
        "optimizer.betas with a first above 0: it is how near to the average gradients are taken, "
        "and at 0 the average cannot be told from them": not config.optimizer.get("betas", [1])[0],
    }
    if reasons := [reason for reason, here in wrong.items() if here]:
        raise ConfigError(f"optimizer={NAME} needs {'; '.join(reasons)}; or take optimizer=adamw")


def _two(optimizer: Any) -> bool:
    return "train_mode" in optimizer.param_groups[0]
