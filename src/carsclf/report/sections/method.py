"""7. How it was done."""

import os
from pathlib import Path

import pandas as pd

from carsclf.report.context import Context
from carsclf.report.groups import BESIDE, CHANCE, Group, under
from carsclf.report.material import StudyMaterial
from carsclf.report.page import Section
from carsclf.report.sections.search import group_of
from carsclf.report.words import hours, placeless, plain


def section(context: Context) -> Section:
    """Protocol, runs, configurations, versions, and the commands that repeat it."""
    made = Section("method", "How it was done")
    runs, studies = context.material.runs, context.material.studies
    seeds = sorted({run.run.seed for run in runs})
    made.answer = (
        f"{len(runs)} runs (seeds {', '.join(map(str, seeds)) or 'none'}) and {len(studies)} "
        f"studies on {context.material.source}, judged on {context.judged}."
    )
    made.definitions(_facts(context), "The data and its protocol")
    if runs:
        _runs(context, made)
        _configurations(context, made)
    made.commands(commands(context), "To repeat it")
    return made


def _facts(context: Context) -> list[tuple[str, str]]:
    runs, names = context.material.runs, context.material.class_names
    facts = [
        ("data", context.material.source),
        ("protocol", context.material.protocol),
        ("classes", str(len(names)) if names else "unknown"),
        ("judged on", context.judged),
    ]
    if not runs:
        return facts
    sizes = [", ".join(f"{n} {count:,}" for n, count in r.run.split_sizes.items()) for r in runs]
    versions = [", ".join(f"{n} {v}" for n, v in r.run.versions.items()) for r in runs]
    commits = [str(r.run.git_commit)[:12] for r in runs]
    for name, values in (
        ("photos", sizes),
        ("devices", [r.run.device for r in runs]),
        ("precision", [r.run.precision for r in runs]),
        ("versions", versions),
        ("commits", commits),
    ):
        facts.append((name, "; ".join(dict.fromkeys(values))))
    return facts


def _runs(context: Context, made: Section) -> None:
    rows = []
    for group in context.groups:
        for run, accuracy in zip(group.runs, group.seeds, strict=False):
            rows.append(
                {
                    "configuration": group.label,
                    "run": link(run.folder, context.desk.folder),
                    "seed": run.run.seed,
                    "weights": Path(run.run.weights).name,
                    "epochs": f"{run.run.reported} ({run.run.reported_epoch} of {run.run.epochs})",
                    "hours": run.run.seconds / 3600,
                    "top1": accuracy,
                }
            )
    table = pd.DataFrame(rows)
    show = {
        "configuration": ("configuration", str),
        "run folder": ("run", str),
        "seed": ("seed", str),
        "initial weights": ("weights", str),
        "reported epoch": ("epochs", str),
        "time": ("hours", hours),
        f"top-1 on {context.material.split}": ("top1", lambda v: f"{100 * v:.2f} %"),
    }
    context.desk.table(made, "runs", table, f"Every run. {context.judged}.", show)


def _configurations(context: Context, made: Section) -> None:
    """Every key in which configurations differ, and what they share."""
    groups = [g for g in context.groups if g.runs]
    keys = sorted({k for g in groups for k in g.config if not under(k, BESIDE)} - CHANCE)
    keys = [k for k in keys if not k.endswith(("_target_", "_partial_", "module.path"))]
    differing = [k for k in keys if len({plain(g.config.get(k)) for g in groups}) > 1]
    rows = [{"key": k, **{g.label: plain(g.config.get(k)) for g in groups}} for k in differing]
    if rows:
        show = {"setting": ("key", str)} | {g.label: (g.label, str) for g in groups}
        caption = "Settings in which the configurations differ."
        context.desk.table(made, "configurations", pd.DataFrame(rows), caption, show)
    shared = [(k, plain(groups[0].config.get(k))) for k in keys if k not in differing]
    table = pd.DataFrame(shared, columns=["key", "value"])
    show = {"setting": ("key", str), "value": ("value", str)}
    context.desk.table(made, "shared_settings", table, "Settings that all of them share.", show)


def commands(context: Context) -> list[str]:
    """Studies as they were started, winners and baselines by the study's own file, and the rest."""
    lines = []
    for study in context.material.studies:
        started = next((e for e in study.events if e.get("kind") == "study"), None)
        if started:
            lines.append(placeless(" ".join(["python tune.py", *started.get("overrides", [])])))
        for role in ("winner", "baseline"):
            group = group_of(context, study, role)
            if group is not None and group.runs and study.best_overrides:
                lines += _training(context, study, group)
    for group in context.groups:
        if group.study is None:
            lines += [
                f"# {group.label}: settings in {link(run.folder, context.desk.folder)}/config.yaml"
                for run in group.runs
            ]
    if context.material.clean:
        lines.append("python evaluate.py run=<each run folder> split=test")
    names = [link(r.folder, context.desk.folder) for r in context.material.runs]
    studies = [link(s.folder, context.desk.folder) for s in context.material.studies]
    said = [f"studies=[{','.join(studies)}]" if studies else "", f"runs=[{','.join(names)}]"]
    lines.append(" ".join(["python report.py", *(x for x in said if x and x != "runs=[]")]))
    return lines


def _training(context: Context, study: StudyMaterial, group: Group) -> list[str]:
    best = f"overrides={link(study.folder, context.desk.folder)}/best.yaml"
    own = []
    if group.role == "baseline":
        own = [f"{k}={plain(group.config.get(k))}" for k in study.searched if k in group.config]
    split = group.config.get("data.split_seed")
    own += [] if split is None else [f"data.split_seed={split}"]
    seeds = ",".join(str(run.run.seed) for run in group.runs)
    many = ["-m"] if len(group.runs) > 1 else []
    return [" ".join(["python train.py", *many, best, *own, f"seed={seeds}"])]


def link(folder: Path, page: Path) -> str:
    """A folder as seen from where the commands were typed, else its name: no machine's paths."""
    here = Path(os.path.relpath(folder.resolve()))
    return folder.name if here.parts[:1] == ("..",) else here.as_posix()
