"""The learning-rate finder: a range test before a training, what it suggests, and what is taken."""

import pandas as pd
import pytorch_lightning as pl
from lightning_fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from carsclf.analysis.range_test import RULES, judged, suggestions
from carsclf.data.loaders import SplitLoaders
from carsclf.errors import CarsclfError, ConfigError
from carsclf.figures.rates import draw_range_test
from carsclf.files import atomic_write
from carsclf.options.kinds import plain
from carsclf.records import RunFolder
from carsclf.terminal import terminal
from carsclf.training.modules import TransferModule
from carsclf.training.range_test import range_test
from carsclf.training.wandb_log import log_finder

NOTHING = (
    "nothing is suggested, as the loss fell by less than it differs from batch to batch: raise "
    "lr_finder.steps, or data.batch_size"
)


def find_rate(
    config: DictConfig,
    module: TransferModule,
    inputs: SplitLoaders,
    trainer: pl.Trainer,
    files: RunFolder,
) -> tuple[DictConfig, pd.DataFrame]:
    """The configuration with the suggestion that `lr_finder.use` takes, and the range test's table.

    Draws and tells what was found. Nothing else is changed, and nothing of the training. Raises
    CarsclfError where a suggestion is to be taken and there is none.
    """
    finder = config.lr_finder
    lr, ends = config.optimizer.lr, {"low": finder["from"], "high": finder.to}
    table = range_test(module, inputs, trainer, lr=lr, **ends, steps=finder.steps)
    found = suggestions(table, finder.steps)
    draw_range_test(judged(table, finder.steps), found, files.rates_figure)
    if not found and finder.use is not None:
        raise CarsclfError(f"lr_finder.use={finder.use}: {NOTHING} ({files.rates_figure})")
    config = config.copy()
    if finder.use is not None:
        config.optimizer.lr = found[finder.use]
    _tell(found, finder.use, still_falling(table, finder.to))
    if trainer.logger is not None:
        log_finder(files.rates_figure, found)
        trainer.logger.log_hyperparams(plain(config))
    return config, table


def still_falling(table: pd.DataFrame, high: float) -> bool:
    """Whether the last rate tried was the highest there was, and had the lowest loss."""
    return (
        table["lr"].iloc[-1] >= high * (1 - 1e-9) and table["smoothed"].idxmin() == table.index[-1]
    )


def write_rates(table: pd.DataFrame, files: RunFolder) -> None:
    """Writes lr_finder.csv, which says to a resumed run that the rate was found."""
    with atomic_write(files.rates) as temporary:
        table.to_csv(temporary, index=False)


def suggested(config: DictConfig, files: RunFolder) -> dict[str, float]:
    """What was suggested, as lr_finder.csv says; nothing where there was no finder."""
    if "lr_finder" not in config:
        return {}
    return suggestions(pd.read_csv(files.rates), config.lr_finder.steps)


def taken(config: DictConfig) -> list[str]:
    """Overrides with which a repetition trains at the rate that was found; none where none was."""
    if "lr_finder" not in config or config.lr_finder.use is None:
        return []
    return ["lr_finder.use=null", f"optimizer.lr={config.optimizer.lr}"]


def adopt_rate(config: DictConfig, kept: DictConfig) -> DictConfig:
    """The configuration with the rate that an earlier part of the run took over."""
    if taken(config) and "lr" in kept.get("optimizer", {}):
        config = config.copy()
        config.optimizer.lr = kept.optimizer.lr
    return config


def only_finds(config: DictConfig) -> bool:
    """Whether nothing is to be trained."""
    return "lr_finder" in config and bool(config.lr_finder.only)


def check_one_process(config: DictConfig, world: int) -> None:
    """Refuses several processes, of which each would find a rate of its own."""
    if "lr_finder" in config and world > 1:
        raise ConfigError(
            f"callbacks=lr_finder needs one process, and here are {world}: find the rate with "
            "trainer.devices=1, and give it as optimizer.lr=..."
        )


def told(found: dict[str, float]) -> str:
    """The suggestions in a line."""
    if not found:
        return f"range test (lr_finder.png): {NOTHING}"
    rules = ", ".join(f"{rule} {found[rule]:g}" for rule in RULES)
    return f"optimizer.lr suggested by the range test (lr_finder.png): {rules}"


@rank_zero_only
def _tell(found: dict[str, float], use: str | None, falling: bool) -> None:
    parts = [told(found)]
    if use is not None:
        parts.append(f"optimizer.lr={found[use]:g} is taken")
    if falling:
        parts.append("the loss still falls at the highest rate: raise lr_finder.to")
    terminal(stderr=True, soft_wrap=True).print("; ".join(parts), highlight=False)
