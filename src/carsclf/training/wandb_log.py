"""Weights & Biases: a run of its own for each training, what a team looks at when it is over."""

import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from carsclf.analysis.metrics import worst
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError
from carsclf.records import Predictions, Run

MISTAKES = 24
LONGEST = 128  # letters of a W&B id
BEGUN = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+)")  # W&B's own name for a run's folder


def check_wandb(logger: DictConfig | None) -> None:
    """See check_login: for a training's logger, if it is W&B's."""
    if logger and str(logger.get("_target_")).endswith("WandbLogger"):
        check_login("logger=wandb", "offline" if logger.get("offline") else logger.get("mode"))


def check_login(option: str, mode: str | None = None) -> None:
    """Raises ConfigError where a run would go online, as `option` wants, and nobody is logged in.

    mode: W&B's, where it is not the environment's.
    """
    import wandb

    with wandb_refusals():
        mode = mode or wandb.setup().settings.mode
        if mode in ("online", "shared") and not wandb.login(prompt=False):
            raise ConfigError(
                f"{option}: nobody is logged in at Weights & Biases: type wandb login, set "
                "WANDB_API_KEY, or keep the run on this machine with WANDB_MODE=offline"
            )


@contextmanager
def wandb_refusals() -> Iterator[None]:
    """What W&B refuses, in one line with the ways on."""
    import wandb

    try:
        yield
    except (wandb.Error, ConnectionError, ValueError) as error:  # pydantic's are ValueErrors
        said = " ".join(str(error).split())
        raise ConfigError(
            f"W&B: {said}; wandb login, or WANDB_MODE=offline to upload later"
        ) from error


def make_logger(config: DictConfig, folder: Path) -> Any:
    """The logger of a training in `folder`, told its configuration; False where there is none.

    The W&B run is found again by its id when the training goes on.
    """
    settings = config.get("logger")
    if not settings:
        return False
    own = {"save_dir": str(folder), "name": folder.name}
    own["id"] = wandb_id(folder, settings.get("group"))
    with wandb_refusals():
        logger = instantiate(settings, **own)
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))
    return logger


def wandb_id(folder: Path, group: str | None) -> str:
    """That of the run begun in this folder, or a new one: group and name, as far as W&B takes them.

    Random letters keep it apart from a run of that name in another folder or of an earlier day.
    """
    for path in sorted((folder / "wandb").glob("*run-*")):
        if begun := BEGUN.fullmatch(path.name):
            return begun[1]
    name = f"{group}-{folder.name}" if group else folder.name
    return f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', name)[: LONGEST - 9]}-{secrets.token_hex(4)}"


@contextmanager
def ending_wandb() -> Iterator[None]:
    """Ends the W&B run that a training began, whatever ends the training.

    One that was open before is its owner's.
    """
    before = _open_run()
    try:
        yield
    except BaseException as error:
        _end(before, exit_code=1 if isinstance(error, Exception) else 255)
        raise
    _end(before, exit_code=0)


def _open_run() -> Any:
    return getattr(sys.modules.get("wandb"), "run", None)


def _end(before: Any, *, exit_code: int) -> None:
    run = _open_run()
    if run is not None and run is not before:
        run.finish(exit_code=exit_code)


def log_finder(figure: Path, suggested: dict[str, float]) -> None:
    """Logs the learning-rate finder's figure and suggestions to the run that is open."""
    import wandb

    if wandb.run is not None:
        wandb.run.log({"lr_finder": wandb.Image(str(figure))})
        wandb.run.summary.update({f"lr_finder/{rule}": lr for rule, lr in suggested.items()})


def close_wandb(run: Run, predictions: Predictions | None, samples: list[Sample]) -> None:
    """Logs the results of a training that reached its horizon."""
    import wandb

    if predictions is not None and wandb.run is not None:
        log_results(wandb.run, run, predictions, samples)


def log_results(experiment: Any, run: Run, predictions: Predictions, samples: list[Sample]) -> None:
    """Logs the confusion matrix and a table of the worst mistakes with their pictures.

    `experiment` is a wandb run; works offline as well.
    """
    import wandb

    names, said = predictions.class_names, predictions.predicted
    table = wandb.Table(["picture", "class", "predicted", "probability", "id"])
    pictures = []
    for i in worst(predictions.targets, predictions.probabilities, MISTAKES):
        picture = read_picture(samples[i]).permute(1, 2, 0).numpy()
        given, taken = names[predictions.targets[i]], names[said[i]]
        probability = float(predictions.probabilities[i].max())
        table.add_data(wandb.Image(picture), given, taken, probability, predictions.ids[i])
        pictures.append(
            wandb.Image(picture, caption=f"{given} taken for {taken} ({probability:.0%})")
        )
    matrix = wandb.plot.confusion_matrix(
        y_true=predictions.targets.tolist(), preds=np.asarray(said).tolist(), class_names=names
    )
    experiment.log({"confusion_matrix": matrix, "worst_mistakes": table})
    if pictures:  # as a panel too: a table's pictures are only shown once it is synced
        experiment.log({"worst_pictures": pictures})
    marked = {"leak": run.leak} if run.leak else {}
    experiment.summary.update({"reported_epoch": run.reported_epoch, **marked, **run.metrics})
