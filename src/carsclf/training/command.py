"""`train.py`: names the run folder, trains, and says what came out."""

import os
import secrets
import shutil
import time
from pathlib import Path

import yaml
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import CarsclfError, CheckpointError, ConfigError, mistakes
from carsclf.inference.bulk import predict_pictures
from carsclf.inference.evaluate import evaluate_run, print_metrics
from carsclf.inference.split import How
from carsclf.models.provenance import forbids_commerce
from carsclf.options.command_line import argument, quoted, read_overrides, say_next
from carsclf.options.kinds import checked
from carsclf.options.training import NAMING
from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.checks import check_training
from carsclf.training.configuration import training_part
from carsclf.training.gan_checks import check_unread
from carsclf.training.gan_record import GanRun
from carsclf.training.gan_run import fit_gan
from carsclf.training.leak import check_experiment
from carsclf.training.lr_finder import only_finds, told
from carsclf.training.prolong import asked_epochs, prolong
from carsclf.training.run import fit

LOST = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "NCCL",
)  # NCCL: never run on several cards


def train(config: DictConfig) -> str:
    """One training from the command line, new or `resume=<run folder>`; returns its folder."""
    naming, told = checked(config, NAMING), told_overrides(config)
    if naming.overrides and told:
        config = compose("train", told)
        naming = checked(config, NAMING)
    if naming.resume:
        folder, config = resumed(Path(naming.resume))
    else:
        if config.get("callbacks"):
            raise ConfigError(
                f"callbacks={','.join(config.callbacks)}: those are tune.py's; of a training there "
                "is lr_finder, and logger=csv or wandb"
            )
        config = training_part(config)
        check_experiment(config, experiment_of(told))
        folder = new_folder(naming)
    files = RunFolder(folder)
    try:
        run = _trained(config, files, told)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into an exit
        said = f"interrupted; {_go_on(folder)}"
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # end the other jobs too
            raise SystemExit(said) from None
        raise CarsclfError(said) from None
    except mistakes():
        if not naming.resume:
            forget(files)
        raise
    except RuntimeError as error:
        if not any(sign in str(error) for sign in LOST):
            raise
        raise CarsclfError(
            f"another process of this run ended: {str(error).splitlines()[0]}; finished epochs are "
            f"kept, {_go_on(folder)}"
        ) from None
    if _rank():
        return str(folder)
    if isinstance(run, GanRun):
        return gan_summary(run, files)
    summary(run, folder)
    if run.finished and "throw_away" in config:
        look_for_photos(config, files)
    if HydraConfig.get().mode != RunMode.MULTIRUN:  # a sweep ends with its own
        say_next(_next(run, files, config))
    return str(folder)


def _trained(config: DictConfig, files: RunFolder, told: list[str] | None) -> Run | GanRun:
    """The run of this configuration: what is left of it, where something was done before."""
    kind, train = (GanRun, fit_gan) if "gan" in config else (Run, fit)
    if files.run.is_file() and (done := kind.read(files.run)).finished:
        return done
    check_training(config)
    if "gan" in config:
        check_unread(told or ())
    return train(config, files.root, resume=True, overrides=repeatable(told))


def _next(run: Run, files: RunFolder, config: DictConfig) -> str:
    if not run.finished:
        if run.suggested:
            more = "lr_finder.only=false lr_finder.use=valley"
        elif only_finds(config):
            more = f"lr_finder.steps={4 * config.lr_finder.steps}"
        else:
            more = "look=true"
        return f"python train.py {argument('overrides', files.overrides)} {more}"
    if not run.deployable:  # and evaluated
        return f"python predict.py {argument('run', files.root)} images=<folder of new pictures>"
    split = " split=test" if "test" in run.split_sizes else ""
    return f"python evaluate.py {argument('run', files.root)}{split}"


def look_for_photos(config: DictConfig, files: RunFolder) -> None:
    """What a throw-away run is for: it is evaluated, and says what it takes new pictures for."""
    splits = Run.read(files.run).split_sizes
    split = "test" if "test" in splits else "val"
    evaluate_run(files.root, How(split, workers=config.data.workers), most=0)
    if images := config.throw_away.identify:
        told = (("run", files.root), ("images", Path(images)))
        predict_pictures(compose("predict", [f"{key}={quoted(str(path))}" for key, path in told]))


def _go_on(folder: Path) -> str:
    return f"go on with: python train.py {argument('resume', folder)}"


def forget(files: RunFolder) -> None:
    """Removes the folder of a training that was refused before its first epoch's end.

    Else its name would be taken. Of several processes the first one does it.
    """
    if not files.last.parent.is_dir() and not _rank():
        shutil.rmtree(files.root, ignore_errors=True)


def new_folder(config: DictConfig) -> Path:
    """The run folder's path; the further processes of one DDP run find the first one's.

    Those that torchrun or Slurm start know nothing of each other: they need a name.
    """
    if _rank() and "CARSCLF_RUN_FOLDER" in os.environ:
        return Path(os.environ["CARSCLF_RUN_FOLDER"])
    outside = "WORLD_SIZE" in os.environ
    if outside and not config.name:
        raise ConfigError(
            "processes that were started from outside (torchrun?) need a common name: add name=..."
        )
    folder = Path(config.runs) / (config.name or fresh_name(config))
    # of processes from outside any may be the first to make the folder, none trains alone
    taken = outside and RunFolder(folder).metrics.exists()
    if not outside:
        try:
            folder.mkdir(parents=True)  # whoever makes it has it, of several that begin at once
        except FileExistsError:
            taken = True
    if taken:
        raise ConfigError(f"{folder} exists: choose another name=, or {argument('resume', folder)}")
    os.environ["CARSCLF_RUN_FOLDER"] = str(folder)
    return folder


def told_overrides(config: DictConfig) -> list[str] | None:
    """Those of the file `overrides=`, followed by those of the command line; None for `resume=`.

    A single file stands in the command line already; of a sweep over files each job has its own.
    """
    if config.resume or not HydraConfig.initialized():
        return None
    own = [o for o in HydraConfig.get().overrides.task if not o.startswith("overrides=")]
    return [*(read_overrides(config.overrides) if config.overrides else []), *own]


def experiment_of(overrides: list[str] | None) -> str | None:
    """The experiment that a command line chose, if any."""
    named = [o.partition("=")[2] for o in overrides or () if o.startswith("experiment=")]
    return named[-1] if named else None


def repeatable(overrides: list[str] | None) -> list[str] | None:
    """Without what names this one run."""
    named = ("name=", "runs=")
    return None if overrides is None else [o for o in overrides if not o.startswith(named)]


def resumed(folder: Path) -> tuple[Path, DictConfig]:
    """A run folder's own configuration; beside `resume=` only a longer horizon is taken."""
    others = [o for o in HydraConfig.get().overrides.task if not o.startswith("resume=")]
    epochs = asked_epochs(others)
    if others and epochs is None:
        raise ConfigError(
            f"resume={folder} goes on exactly as the run began; remove {' '.join(others)}"
        )
    files = RunFolder(folder)
    if not files.config.is_file():
        raise CheckpointError(f"resume={folder}: no config.yaml there; is it a run folder?")
    try:
        config = OmegaConf.load(files.config)
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"{files.config} cannot be read: {said}") from None
    if not isinstance(config, DictConfig):
        raise CheckpointError(f"{files.config} is no configuration")
    OmegaConf.set_struct(config, True)
    return folder, config if epochs is None else prolong(config, epochs, files)


def fresh_name(config: DictConfig) -> str:
    """Model, mode, data, time and a few random letters: jobs of one second do not collide."""
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    what = "wgan" if "gan" in config else f"{config.model.name}-{config.mode.name}"
    return f"{what}-{config.data.name}-{stamp}"


def gan_summary(run: GanRun, files: RunFolder) -> str:
    """What a GAN came to, on stdout, and what to do with it; returns its folder."""
    if run.finished:
        apart = run.metrics["gan/wasserstein"]
        print(
            f"WGAN of {run.classes} classes, {run.source}: {run.epochs} epochs of "
            f"{run.split_sizes['train']} photos in {run.seconds:.0f} s; Wasserstein estimate "
            f"{apart:.3f} (on what it trained on); seed {run.seed}",
            f"{run.images_made} pictures in {files.synthetic}",
            f"run folder: {files.root}",
            sep="\n",
        )
        say_next(f"python train.py {argument('data.extra', [files.synthetic])}")
    else:
        print("nothing was trained, as asked", f"run folder: {files.root}", sep="\n")
    return str(files.root)


def summary(run: Run, folder: Path) -> None:
    """A short table on stdout: accuracy, seconds, and where the run folder is."""
    found = [told(run.suggested)] if run.suggested else []
    if not run.finished:
        print("nothing was trained, as asked", *found, f"run folder: {folder}", sep="\n")
        return
    restricted = forbids_commerce(run.weights_license)
    license = f" ({run.weights_license}: NOT for commercial use)" if restricted else ""
    best = ", ".join(f"{name} {value:.3g}" for name, value in run.chosen.items())
    flattered = (
        f"{best}, the best on validation of {run.epochs} heads (heads.csv): of so many the best is "
        "flattered there; judge it by split=test"
    )
    words = "trained {trained:,} of {network:,} parameters"
    share = [words.format(**run.parameters)] if run.parameters else []  # older runs do not say
    print_metrics(
        run,
        Predictions.read(RunFolder(folder).predictions("val")),
        "val",
        f"{run.reported} epoch: {run.reported_epoch} of {run.epochs}; {run.seconds:.0f} s; "
        f"weights: {run.weights}{license}; seed {run.seed}",
        *share,
        *([flattered] if best else []),
        *found,
        *([] if run.deployable else ["NOT for deployment: a throw-away run"]),
        f"run folder: {folder}",
    )


def _rank() -> int:
    """Of this process among those of one distributed run."""
    return getattr(rank_zero_only, "rank", 0)
