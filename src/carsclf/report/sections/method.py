"""7. How it was done."""

from pathlib import Path

import pandas as pd

from carsclf.report.context import Context
from carsclf.report.page import Section
from carsclf.report.repeat import FOLDER, everything, link, this_page
from carsclf.report.settings import says_something
from carsclf.report.words import hours, plain


def section(context: Context) -> Section:
    """Protocol, runs, configurations, versions, and the commands that repeat it."""
    made = Section("method", "How it was done")
    runs, studies = context.material.runs, context.material.studies
    seeds = sorted({run.run.seed for run in runs})
    final = sum(run.study is not None for run in runs)
    of_these = f", {final} of them of the studies' finals" if final else ""
    made.answer = (
        f"{len(runs)} runs (seeds {', '.join(map(str, seeds)) or 'none'}{of_these}) and "
        f"{len(studies)} studies on {context.material.source}, judged on {context.judged}."
    )
    made.definitions(_facts(context), "The data and its protocol")
    if runs:
        _runs(context, made)
        _configurations(context, made)
    made.commands(this_page(context), "To write this page again")
    made.commands(everything(context), f"To repeat it, beside what is there, in {FOLDER}/")
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
                    "run": link(run),
                    "seed": run.run.seed,
                    "weights": Path(run.run.weights).name,
                    "license": run.run.weights_license or "–",
                    "source": ", ".join(run.run.weights_source.values()) or "–",
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
        "their licence": ("license", str),
        "their origin": ("source", str),
        "reported epoch": ("epochs", str),
        "time": ("hours", hours),
        f"top-1 on {context.material.split}": ("top1", lambda v: f"{100 * v:.2f} %"),
    }
    context.desk.table(made, "runs", table, f"Every run. {context.judged}.", show)


def _configurations(context: Context, made: Section) -> None:
    """Every key in which configurations differ, and what they share."""
    groups = [g for g in context.groups if g.runs]
    keys = sorted({k for g in groups for k in g.config if says_something(k)})
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
