"""A training's configuration: which part of a command line it is, and whether it can be run."""

from inspect import signature

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from carsclf.data.samples import absolute, check_names
from carsclf.errors import ConfigError
from carsclf.machine.precision import check_precision
from carsclf.models.boundary import HEAD

NUMBERS = (
    "seed",
    "trainer.max_epochs",
    *(f"data.{key}" for key in ("batch_size", "image_size", "fraction", "val_fraction")),
    *(f"data.{key}" for key in ("split_seed", "test_fraction", "min_images_per_class", "margin")),
    *(f"optimizer.{key}" for key in ("lr", "head_lr_factor", "momentum", "weight_decay")),
    *(f"schedule.{key}" for key in ("factor", "patience", "every", "warmup_epochs")),
    *(f"augmentation.{key}" for key in ("flip", "rotation", "zoom")),
    "mode.label_smoothing",
)
NAMING = ("resume", "name", "runs", "overrides")  # of a run; config.yaml holds the rest
SEARCH_GROUPS = ("objective", "space", "search", "cluster", "resources")  # tune.py's


def training_part(config: DictConfig) -> DictConfig:
    """The configuration without what only names, resumes or searches: what config.yaml keeps."""
    plain = OmegaConf.masked_copy(
        config, [str(k) for k in config if k not in (*NAMING, *SEARCH_GROUPS)]
    )
    missing = sorted(OmegaConf.missing_keys(plain))
    if missing:
        raise ConfigError(f"{missing[0]} has no value: give it as {missing[0]}=...")
    for key in NUMBERS:
        value = OmegaConf.select(plain, key)
        if value is not None and not isinstance(value, int | float):
            raise ConfigError(f"{key}={value}: expected a number")
    check_precision(plain)
    settle_paths(plain)
    for group in ("optimizer", "schedule"):
        check_arguments(plain[group], group)
    if plain.optimizer._target_.endswith(".lbfgs"):
        check_lbfgs(plain)
    return plain


def settle_paths(config: DictConfig) -> None:
    """Makes the data's place absolute, so that a run folder works from anywhere."""
    data = config.data
    table = data.get("table")
    if data.root is not None:
        data.root = str(absolute(data.root))
    elif table is not None:  # else it is relative to the root
        data.table = str(absolute(table))
    check_names([str(path) for path in (data.root, table) if path is not None])


def check_arguments(settings: DictConfig, group: str) -> None:
    """Refuses settings that an experiment made for another option of the group."""
    function = get_method(settings._target_)
    parameters = signature(function).parameters.values()
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        return  # a user's own function, which passes them on
    taken = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
    own = [str(key) for key in settings if not str(key).startswith("_")]
    if foreign := [key for key in own if key not in taken]:
        removed = " ".join(f"~{group}.{key}" for key in foreign)
        raise ConfigError(
            f"{group}={function.__name__} takes {', '.join(taken) or 'no settings'}, not "
            f"{', '.join(foreign)}; an experiment may have set them for another {group}: remove "
            f"them with {removed}"
        )


def check_lbfgs(config: DictConfig) -> None:
    """Refuses L-BFGS where its one smooth function of a linear head is not what is trained."""
    constant = config.schedule._target_.endswith(".constant")
    wrong = {
        "mode=freeze: it trains a linear head on frozen features": config.mode.boundary != HEAD,
        "mode.cache=true: it sees all pictures in each iteration": not config.mode.cache,
        "mode.views=1: pictures must not change from epoch to epoch": config.mode.get("views", 1)
        != 1,
        "schedule=constant: its line search finds the rate": not constant,
        "trainer.gradient_clip_val=null: its line search needs the whole gradient": bool(
            config.trainer.gradient_clip_val
        ),
    }
    if reasons := [reason for reason, here in wrong.items() if here]:
        raise ConfigError(f"optimizer=lbfgs needs {'; '.join(reasons)}; or take optimizer=adamw")
