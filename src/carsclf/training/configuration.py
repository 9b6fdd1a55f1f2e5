"""A training's configuration: which part of a command line it is, and whether it can be run."""

from inspect import signature
from typing import get_args, get_type_hints

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from carsclf.data.resizing import Phase
from carsclf.data.transforms import build_transforms
from carsclf.errors import ConfigError, nearest
from carsclf.features.extract import check_views
from carsclf.machine.precision import check_precision
from carsclf.models.boundary import HEAD
from carsclf.models.pooling import DEFAULT
from carsclf.options.kinds import checked
from carsclf.options.training import LR_FINDER, NAMING, REQUIRED, TRAINING
from carsclf.training.gan_checks import check_gan
from carsclf.training.growing import check_head, check_throw_away, settle_mapping
from carsclf.training.leak import check_follow_up
from carsclf.training.places import settle_paths
from carsclf.training.schedule_free import check_schedule_free

GROUPS = ("data", "augmentation", "model", "optimizer", "schedule", "mode", "trainer")
TRICKS = ("mixing", "class_weights", "averaging")  # which runs of earlier versions do not have
LATER = (*TRICKS, "resizing", "unfreezing")
WHOLE = {  # optimizers that see all rows at once, with the schedule that each needs, and why
    "lbfgs": ("constant", "its line search finds the rate"),
    "head_grid": ("penalties", "each epoch is a head with a penalty of its own"),
}
SEARCH_GROUPS = ("objective", "space", "search", "cluster", "callbacks", "resources")  # tune.py's


def training_part(config: DictConfig) -> DictConfig:
    """The configuration without what only names, resumes or searches: what config.yaml keeps."""
    plain = OmegaConf.masked_copy(
        config, [str(k) for k in config if k not in (*NAMING, *SEARCH_GROUPS)]
    )
    for group in GROUPS:
        if not OmegaConf.is_dict(plain.get(group)):
            raise ConfigError(f"{group}: nothing chosen; see conf/{group}/ for what there is")
    plain = checked(plain, TRAINING, REQUIRED)
    for group in ("data", "model", "mode"):
        check_known(plain[group], group)
    check_root(plain.data)
    if "gan" in plain:
        check_gan(plain)
    check_precision(plain)
    settle_paths(plain)
    settle_mapping(plain.data)
    check_head(plain.model)
    tricks = [group for group in LATER if group in plain]
    for group in ("augmentation", "optimizer", "schedule", *tricks):
        check_arguments(plain[group], group)
    check_mixing(plain)
    check_balance(plain)
    check_follow_up(plain)
    check_resizing(plain)
    check_layers(plain)
    check_unfreezing(plain)
    check_schedule_free(plain)
    if option_of(plain.optimizer) in WHOLE:
        check_whole(plain)
    elif option_of(plain.schedule) == "penalties":
        raise ConfigError("schedule=penalties needs optimizer=head_grid, with a head an epoch")
    if option_of(plain.schedule) == "cyclical":
        check_cycle(plain.schedule)
    if "lr_finder" in plain:
        check_finder(plain)
    if "throw_away" in plain:
        check_known(plain.throw_away, "throw_away")
        check_throw_away(plain.throw_away)
    return plain


def option_of(settings: DictConfig) -> str:
    """The option that was chosen of a group whose options are functions."""
    return str(settings._target_).rpartition(".")[2]


def check_known(settings: DictConfig, group: str) -> None:
    """Refuses options that nothing reads, which a + has put there."""
    known = [key.removeprefix(f"{group}.") for key in TRAINING if key.startswith(f"{group}.")]
    for key in settings:
        if key not in known and not OmegaConf.is_dict(settings[key]):
            raise ConfigError(f"{group}.{key} is no option: {nearest(str(key), known)}")


def check_root(data: DictConfig) -> None:
    """Refuses data.root=null for a source that has no place of its own."""
    root = get_type_hints(get_object(data.source._target_)).get("root")
    if data.root is None and type(None) not in get_args(root):
        raise ConfigError("data.root has no value: give it as data.root=...")


def check_arguments(settings: DictConfig, group: str) -> None:
    """Refuses settings that an experiment made for another option of the group, or left out."""
    function = get_object(settings.get("_target_", ""))
    parameters = signature(function).parameters.values()
    own = [str(key) for key in settings if not str(key).startswith("_")]
    given = [p for p in parameters if p.kind == p.KEYWORD_ONLY or isinstance(function, type)]
    if lacking := [p.name for p in given if p.default is p.empty and p.name not in own]:
        raise ConfigError(f"{group}={function.__name__} needs {group}.{lacking[0]}=...")
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        return  # a user's own function, which passes them on
    taken = [p.name for p in given]
    if foreign := [key for key in own if key not in taken]:
        removed = " ".join(f"~{group}.{key}" for key in foreign)
        raise ConfigError(
            f"{group}={function.__name__} takes {', '.join(taken) or 'no settings'}, not "
            f"{', '.join(foreign)}; an experiment may have set them for another {group}: remove "
            f"them with {removed}"
        )


def check_cycle(schedule: DictConfig) -> None:
    """Refuses cycles that do not go up and down."""
    if schedule.low >= 1:
        raise ConfigError(f"schedule.low={schedule.low}: expected a share of the rate, below 1")
    if schedule.policy == "exp_range" and not schedule.factor:
        raise ConfigError("schedule.factor=0 leaves no cycle after the first step: raise it")


def check_finder(config: DictConfig) -> None:
    """Refuses a learning-rate finder that has nothing to find, or contradicts itself."""
    finder, optimizer = config.lr_finder, option_of(config.optimizer)
    check_known(finder, "lr_finder")
    if lacking := [key for key in LR_FINDER if key.partition(".")[2] not in finder]:
        raise ConfigError(f"{lacking[0]} has no value: choose the finder with callbacks=lr_finder")
    if optimizer in WHOLE:
        raise ConfigError(
            f"callbacks=lr_finder: optimizer={optimizer} has no learning rate "
            f"({WHOLE[optimizer][1]}); take optimizer=adamw, or leave the finder out"
        )
    if "lr" not in config.optimizer:
        raise ConfigError(f"callbacks=lr_finder: optimizer={optimizer} has no lr to be found")
    if finder["from"] >= finder.to:
        raise ConfigError(
            f"lr_finder.from={finder['from']}, lr_finder.to={finder.to}: expected from below to"
        )
    if finder.only and finder.use is not None:
        raise ConfigError(
            "lr_finder.only=true trains nothing, so no rate can be used: remove "
            f"lr_finder.use={finder.use}, or lr_finder.only"
        )
    if config.look == "only":
        raise ConfigError(
            "look=only ends before a rate is looked for: lr_finder.only=true ends after both"
        )
    if not config.trainer.max_epochs:
        raise ConfigError("callbacks=lr_finder: trainer.max_epochs=0 trains nothing: leave it out")


def trick(config: DictConfig, group: str) -> str:
    """The option that was chosen of a group that may be missing: `none` if it is."""
    return option_of(config[group]) if group in config else "none"


def pooling_of(config: DictConfig) -> str:
    """`mode.pool`, which runs of earlier versions do not have."""
    return config.mode.get("pool", DEFAULT)


def check_mixing(config: DictConfig) -> None:
    """Refuses boxes of features, and batches in which nothing meets another."""
    mode, mixing = config.mode, trick(config, "mixing")
    if mixing == "cutmix" and mode.cache and mode.boundary not in (0, "0"):
        raise ConfigError(
            "mixing=cutmix cuts boxes out of pictures, and with mode.cache=true a training sees "
            "features of them: take mixing=mixup, which mixes those, or mode.cache=false "
            "optimizer=adamw"
        )
    if mixing != "none" and config.data.batch_size == 1:
        raise ConfigError(
            f"mixing={mixing} mixes the pictures of a batch: data.batch_size=2 or more, or "
            "mixing=none"
        )


def phases_of(config: DictConfig) -> list[Phase]:
    """What the training pictures of each epoch are; empty where they are all of one size."""
    if "resizing" not in config:
        return []
    data = config.data
    phases = instantiate(config.resizing)
    return phases(data.image_size, data.batch_size, config.trainer.max_epochs)


def check_resizing(config: DictConfig) -> None:
    """Refuses sizes and epochs that are none, and growing pictures where features are kept."""
    mode = config.mode
    if phases_of(config) and mode.cache and mode.boundary not in (0, "0"):
        raise ConfigError(
            "resizing=progressive trains on pictures that grow, and with mode.cache=true a "
            "training sees features of them, made once: take resizing=none, or mode.cache=false "
            "optimizer=adamw"
        )


def check_layers(config: DictConfig) -> None:
    """Refuses rates by layer where only a head trains."""
    if config.optimizer.get("layer_decay") is not None and config.mode.boundary == HEAD:
        raise ConfigError(
            f"optimizer.layer_decay={config.optimizer.layer_decay}: mode.boundary=head leaves no "
            "layers to train: take optimizer.layer_decay=null, or another mode"
        )


def check_unfreezing(config: DictConfig) -> None:
    """Refuses to wait with stages where none trains, or for longer than the training lasts."""
    if trick(config, "unfreezing") == "none":
        return
    if config.mode.boundary == HEAD:
        raise ConfigError(
            "unfreezing=gradual: mode.boundary=head leaves no stages that could begin later: take "
            "unfreezing=none, or another mode"
        )
    if (last := config.unfreezing.epochs[-1]) >= config.trainer.max_epochs:
        raise ConfigError(
            f"unfreezing.epochs={[*config.unfreezing.epochs]}: expected numbers below "
            f"trainer.max_epochs={config.trainer.max_epochs}, as with {last} some would never train"
        )


def check_balance(config: DictConfig) -> None:
    """Refuses to make up for rare classes twice."""
    weights = trick(config, "class_weights")
    if weights != "none" and config.data.get("sampling", "natural") == "balanced":
        raise ConfigError(
            f"class_weights={weights} and data.sampling=balanced both make up for rare classes, "
            "together twice: class_weights=none, or data.sampling=natural"
        )


def check_whole(config: DictConfig) -> None:
    """Refuses a fit to all rows at once where what trains is no smooth function of one head."""
    name = option_of(config.optimizer)
    schedule, why = WHOLE[name]
    wrong = {
        "mode=freeze: it trains a linear head on frozen features": config.mode.boundary != HEAD,
        "mode.cache=true: it sees all pictures in each iteration": not config.mode.cache,
        "mode.views=1: pictures must not change from epoch to epoch": config.mode.get("views", 1)
        != 1,
        "mixing=none: each iteration sees the same pictures": trick(config, "mixing") != "none",
        "data.sampling=natural: it sees each picture once (class_weights=inverse)": config.data.get(
            "sampling", "natural"
        )
        != "natural",
        "resizing=none: its pictures are all seen at once": trick(config, "resizing") != "none",
        "averaging=none: it ends at its best head": trick(config, "averaging") != "none",
        f"schedule={schedule}: {why}": option_of(config.schedule) != schedule,
        "trainer.gradient_clip_val=null: its line search needs the whole gradient": bool(
            config.trainer.gradient_clip_val
        ),
    }
    if name == "head_grid":
        wrong |= {
            "class_weights=none: its curvature counts all pictures alike": trick(
                config, "class_weights"
            )
            != "none",
            "reported=best: the last head is but that of the least penalty": config.reported
            != "best",
            "trainer.check_val_every_n_epoch=1: each epoch is another head": config.trainer.get(
                "check_val_every_n_epoch", 1
            )
            != 1,
        }
    if reasons := [reason for reason, here in wrong.items() if here]:
        raise ConfigError(f"optimizer={name} needs {'; '.join(reasons)}; or take optimizer=adamw")


def check_changing(config: DictConfig) -> None:
    """Refuses views, or their number, that do not go with how the pictures change.

    The build would refuse them too, but with all photos read, and in each trial of a study.
    """
    mode, data = config.mode, config.data
    if mode.name == "finetune" or mode.boundary in (0, "0"):
        return  # nothing is frozen
    augmentation = instantiate(config.augmentation)
    train, _ = build_transforms(data.transform, data.image_size, data.interpolation, augmentation)
    check_views(mode.get("views", 1), cached=bool(mode.cache), random=train.random)
