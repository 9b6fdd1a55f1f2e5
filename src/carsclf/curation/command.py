"""`curate.py`: what to clean in the photos of a run; one table of findings."""

import json
from collections import Counter
from getpass import getuser
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from rich.table import Table

from carsclf.curation.findings import KINDS, write_table
from carsclf.curation.page.needs import check_page
from carsclf.curation.photos import check_extra
from carsclf.curation.search import Found, find
from carsclf.curation.sheets import draw_sheets
from carsclf.curation.trained import check_trainable
from carsclf.data.decision_log import read_ledger
from carsclf.data.follow_up import NO_LEAK
from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import atomic_write
from carsclf.options.command_line import argument, say_next
from carsclf.options.curation import CURATE
from carsclf.options.kinds import checked
from carsclf.records import RANDOM_WEIGHTS, RunFolder, refuse_leaked
from carsclf.terminal import terminal
from carsclf.training.run import quiet

WEAK = 0.7  # top-1 below which most doubts are the judge's own mistakes


def curate(config: DictConfig) -> Path:
    """Writes findings.parquet and .csv, sheets and what they come from; returns the folder."""
    config = checked(config, CURATE)
    check_asked(config)
    check_extra()
    if config.page:
        check_page()
    quiet()
    files = RunFolder(config.run)
    folder = Path(config.folder).expanduser() if config.folder else files.root / "curation"
    trained = run_config(files, config)
    if (leak := trained.data.get("leak", NO_LEAK)) != NO_LEAK:
        refuse_leaked(leak, f"run={files.root}")
    if config.folds.mode == "run":
        check_trainable(trained)
    found = find(config, trained, folder)
    write_table(found.table, folder)
    paths = {sample.id: sample.path for sample in found.library.samples}
    draw_sheets(found.table, paths, folder / "sheets", config.sheets)
    tell(found, folder, files)
    if config.page:
        open_page(found, folder, files, config)
    return folder


def open_page(found: Found, folder: Path, files: RunFolder, config: DictConfig) -> None:
    """The cleaning page, until it is ended; a run's own decisions are what it begins with."""
    from carsclf.curation.page.board import Board, findings_of
    from carsclf.curation.page.log import begin
    from carsclf.curation.page.serve import serve_page

    log = folder / "decisions.csv"
    if files.decisions.is_file() and not log.exists():
        begin(log, read_ledger(files.decisions.read_bytes(), files.decisions))
    board = Board(findings_of(found.table), found.photos, found.library.class_names, log)
    repeat = argument("overrides", files.overrides)
    say_next(f"python train.py {repeat} {argument('data.decisions', log)}")
    serve_page(board, config.who or getuser(), config.port)


def check_asked(config: DictConfig) -> None:
    """Refuses thresholds that contradict each other."""
    low, high = config.confusing.several
    if low > high:
        raise ConfigError(f"confusing.several=[{low},{high}]: expected the lower end first")
    if config.pictures.dark >= config.pictures.bright:
        raise ConfigError(
            f"pictures.dark={config.pictures.dark}, pictures.bright={config.pictures.bright}: "
            "expected dark below bright"
        )


def run_config(files: RunFolder, config: DictConfig) -> DictConfig:
    """The run's configuration, on all of its photos: corrupt ones are findings, none is drawn."""
    if not files.config.is_file():
        raise CheckpointError(f"run={files.root}: no config.yaml there; is it a run folder?")
    trained = OmegaConf.load(files.config)
    assert isinstance(trained, DictConfig)
    with open_dict(trained):
        if files.decisions.is_file():  # the file that they were copied from may have grown
            trained.data.decisions = str(files.decisions)
        trained.data.root = config.root or trained.data.root
        trained.data.update({"skip_unreadable": True, "fraction": 1.0, "bootstrap": None})
    return trained


def tell(found: Found, folder: Path, files: RunFolder) -> None:
    """The summary: on the screen, and as summary.json."""
    told = found.library.said.predictions
    kinds = Counter(found.table["kind"].tolist())
    counts = {kind: kinds[kind] for kind in KINDS}
    summary = {
        **found.library.said.said, "judged": len(told.ids), "top1": float(told.right.mean()),
        "calibration_error": found.calibration, "by_chance": found.by_chance,
        "findings": counts, "leak": found.leak,
    }  # fmt: skip
    with atomic_write(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n")
    table = Table(title=f"findings among {len(found.library.samples)} photos")
    for column in ("kind", "findings", "what"):
        table.add_column(column)
    for kind, number in counts.items():
        if number:
            table.add_row(kind, str(number), KINDS[kind])
    console = terminal(soft_wrap=True)
    console.print(table)
    for line in _lines(found, summary):
        console.print(line, highlight=False)
    print(f"findings: {folder / 'findings.csv'}, contact sheets: {folder / 'sheets'}")
    repeat = argument("overrides", files.overrides)
    say_next(f"python train.py {repeat} data.exclude=<a part of {folder / 'findings.csv'}>")


def _lines(found: Found, summary: dict[str, Any]) -> list[str]:
    said, leak = found.library.said.said, found.leak
    heat = f", temperature {said['temperature']:.2f}" if "temperature" in said else ""
    lines = [
        f"out of fold: {summary['judged']} photos, top-1 {summary['top1']:.1%}, calibration error "
        f"{found.calibration:.3f}{heat}; were all labels right, {found.by_chance:.1f} photos would "
        "count as mislabelled by chance",
    ]
    lines += [
        f"leak: {leak[split]} photos of {split} have a twin in training, "
        f"{leak[f'{split}, other label']} of them with another label"
        for split in ("test", "val")
        if leak[split]
    ]
    if summary["top1"] < WEAK:
        lines.append(
            "so the judge errs more often than labels do: read doubts about labels from the top, "
            "or let trainings judge (folds.mode=run)"
        )
    return [*lines, RANDOM_WEIGHTS] if found.weights == "random" else lines
