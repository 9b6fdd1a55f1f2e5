"""`report.py` without log=: run and study folders in, one page out."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import ConfigError
from carsclf.figures.style import look
from carsclf.files import AnyPath
from carsclf.options.command_line import say_next
from carsclf.options.kinds import checked
from carsclf.options.table import REPORT
from carsclf.records import LEAKED, RANDOM_WEIGHTS
from carsclf.report.context import Context, Price
from carsclf.report.dashboards import Destination, upload, workspaces
from carsclf.report.glance import glance
from carsclf.report.labels import told_apart
from carsclf.report.material import read_material
from carsclf.report.page import Desk, Page
from carsclf.report.pairs import make_pairs
from carsclf.report.roles import make_groups
from carsclf.report.sections import confidence, cost, method, mistakes, models, parallel, search
from carsclf.training.wandb_log import check_login

ORDER = (models, search, cost, parallel, mistakes, confidence, method)


def report(config: DictConfig) -> Path:
    """Writes the page, its tables and figures into `folder`; returns the page's path."""
    config = checked(config, REPORT)
    price: Any = OmegaConf.to_container(config.cost)
    if unknown := set(price) - {field.name for field in fields(Price)}:
        raise ConfigError(
            f"cost.{min(unknown)}: expected {', '.join(f.name for f in fields(Price))}"
        )
    page = write_report(
        runs=_folders(config.runs, "runs"),
        studies=_folders(config.studies, "studies"),
        folder=Path(config.folder or "runs/report"),
        price=Price(**price),
        gallery=config.gallery,
        attention=config.attention,
        root=config.root,
        wandb=Destination(config.project, config.entity) if config.upload else None,
        options=list(HydraConfig.get().overrides.task),
    )
    print(f"report: {page}")
    say_next(f"open {page} in a browser")
    return page


def write_report(
    *,
    runs: Sequence[AnyPath],
    studies: Sequence[AnyPath],
    folder: AnyPath,
    price: Price | None = None,
    gallery: int = 24,
    attention: bool = False,
    root: str | None = None,
    wandb: Destination | None = None,
    options: Sequence[str] = (),
) -> Path:
    """The report of `report.py`, from plain arguments.

    root: of the photos, where they moved; options: what was typed, for the command on the page.
    """
    if wandb is not None:
        workspaces()  # a missing package is told before the work
        check_login("upload=true")
    folder = Path(folder).expanduser()
    material = read_material(runs, studies)
    groups = told_apart(make_groups(material))
    pairs = make_pairs(groups)
    desk = Desk(folder, png=wandb is not None)
    price = price or Price()
    context = Context(material, groups, pairs, desk, price, gallery, attention, root, options)
    _warn(context)
    with look():
        sections = [part.section(context) for part in ORDER]
    classes = material.class_names
    facts = f"{material.source}, {len(classes)} classes; {context.judged}" if classes else (
        f"{material.source}; {context.judged}"
    )  # fmt: skip
    title = f"Which model, at what cost, and what is still wrong: {material.source}"
    page = Page(title, facts, context.warnings, glance(context), sections)
    path = desk.write(page)
    if wandb is not None:
        upload(folder, page, material.studies, wandb)
    return path


def _warn(context: Context) -> None:
    """What must stand at the top of the page."""
    material = context.material
    marked = [g.label for g in context.groups if g.random]
    if marked:
        context.warnings.append(f"{RANDOM_WEIGHTS}: {'; '.join(marked)}")
    if leaked := [g.label for g in context.groups if g.leaked]:
        context.warnings.append(f"{LEAKED}: {'; '.join(leaked)}")
    if short := [r.name for r in material.runs if not r.run.finished]:
        context.warnings.append(f"Not trained to their end: {', '.join(short)}.")
    precisions = sorted({g.precision for g in context.groups if g.precision})
    if len(precisions) > 1:
        context.warnings.append(
            f"Trained in different numbers ({' and '.join(precisions)}), which alone can move an "
            "accuracy by a point: trainer.precision=32-true for all of them makes them alike."
        )
    names = material.class_names
    if names and len(names) == 1:
        context.warnings.append("One class only: every accuracy is 100 % by construction.")
    without = [r.name for r in material.runs if "test" not in r.predictions]
    if material.split == "val" and material.studies:
        which = f" (missing for {', '.join(without[:6])})" if without else ""
        context.warnings.append(
            "Judged on validation, by which the searches chose: there are no predictions of a test "
            f"split for every run{which}. python evaluate.py run=<run> split=test writes them "
            "where the protocol has a test split."
        )


def _folders(value: Any, name: str) -> list[Path]:
    if isinstance(value, str) or value is None:
        value = [value] if value else []
    folders = [Path(str(item)) for item in value]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{name}: {folder} is no folder")
    if len(set(folders)) < len(folders):
        raise ConfigError(f"{name}: a folder is named twice")
    return folders
