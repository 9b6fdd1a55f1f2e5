"""`gate.py`: may a candidate be deployed? Status 0 or 1, gate.json, and a page of reasons."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from carsclf.analysis.gate import Answers, Rules, Verdict, decide
from carsclf.data.reference import ReferenceSet, read_reference, references_named
from carsclf.data.samples import list_some
from carsclf.errors import ConfigError, nearest
from carsclf.files import write_json
from carsclf.inference.deployable import why_not_deployable
from carsclf.inference.reference import judge, part_of, told_lacking, trained_on
from carsclf.inference.split import How, write
from carsclf.options.command_line import say_next
from carsclf.options.kinds import checked
from carsclf.options.reference import GATE
from carsclf.records import RunFolder
from carsclf.report.page import Desk, Figure, Page, Section, Show
from carsclf.report.words import p_value, percent, points, tenths

FIGURES = {
    "candidate": ("candidate", tenths),
    "deployed": ("deployed", tenths),
    "points": ("difference", lambda v: points(v, 1)),
    "from": ("from", lambda v: points(v, 1)),
    "to": ("to", lambda v: points(v, 1)),
    "lost": ("lost", lambda v: "–" if np.isnan(v) else f"{v:.0f}"),
    "gained": ("gained", lambda v: "–" if np.isnan(v) else f"{v:.0f}"),
    "p (Holm)": ("p", p_value),
}


def gate(config: DictConfig) -> None:
    """Judges both models on every set; ends with status 1 where the candidate does not pass."""
    config = checked(config, GATE)
    folder = Path(config.folder or f"runs/gate/{Path(config.candidate).name}").expanduser()
    for stale in ("gate.json", "index.html"):  # else a mistake would leave an earlier verdict
        (folder / stale).unlink(missing_ok=True)
    sets = _sets(config)
    rules = _rules(config, sets)
    candidate = Path(config.candidate).expanduser()
    deployed = None if config.deployed is None else Path(config.deployed).expanduser()
    if deployed is not None and deployed.resolve() == candidate.resolve():
        raise ConfigError(f"candidate={candidate} and deployed={deployed} are the same run: "
                          "nothing is compared")  # fmt: skip
    refused, notes = _refused(candidate, deployed, sets, config.data_root)
    verdict = Verdict(pd.DataFrame(), pd.DataFrame())
    if not refused:
        answers = [_answers(candidate, deployed, one, config, notes) for one in sets]
        verdict = decide(answers, rules)
    reasons = [*refused, *verdict.reasons]
    page = _write(folder, candidate, deployed, sets, rules, verdict, reasons, notes)
    print(f"gate: {'FAIL' if reasons else 'PASS'}: {candidate}")
    for line in [*reasons, *notes]:
        print(f"  {line}")
    print(f"page: {page}")
    if reasons:
        raise SystemExit(1)
    say_next(f"python serve.py run={candidate}")


def _sets(config: DictConfig) -> list[ReferenceSet]:
    named = config.references if isinstance(config.references, str) else list(config.references)
    sets = [read_reference(file) for file in references_named(named)]
    if not sets:
        raise ConfigError(
            "there is no reference set below references/, and nothing is deployed unjudged: python "
            "reference.py name=<name> photos=<folder of class folders>"
        )
    names = [one.name for one in sets]
    if unknown := [name for name in config.roots or {} if name not in names]:
        raise ConfigError(f"roots names {unknown[0]}, which is no set here: "
                          f"{nearest(str(unknown[0]), names)}")  # fmt: skip
    return sets


def _rules(config: DictConfig, sets: Sequence[ReferenceSet]) -> Rules:
    known = sorted({name for one in sets for name in one.class_names})
    important = [str(name) for name in config.important.classes or ()]
    for name in important:
        if name not in known:
            raise ConfigError(
                f"important.classes names {name!r}, of which no reference set has a photo: "
                f"{nearest(name, known)}"
            )
    return Rules(
        minimum=config.minimum,
        worse_by=config.worse_by,
        class_worse_by=config.class_worse_by,
        significance=config.significance,
        important=important,
        important_minimum=config.important.minimum,
        important_worse_by=config.important.worse_by,
    )


def _refused(
    candidate: Path, deployed: Path | None, sets: Sequence[ReferenceSet], root: str | None
) -> tuple[list[str], list[str]]:
    """Why the candidate is not even judged, and what a reader must know of the comparison."""
    if why := why_not_deployable(candidate):
        return [why], []
    refused, notes = [], []
    seen, unsure = trained_on(candidate, sets, root)
    notes += unsure
    if seen.ids:
        refused = [
            f"{candidate} was trained or validated on photos of the reference sets: {seen.told()} "
            f"({list_some(sorted(seen.ids), 3)}); train it anew, where data.references holds them "
            "back"
        ]
    if deployed is not None:
        try:
            own, unsure = trained_on(deployed, sets, None)
        except ConfigError:
            notes.append(f"Whether the deployed model {deployed} was trained on photos of the sets "
                         "is not known: its own data cannot be read.")  # fmt: skip
        else:
            notes += unsure
            if own.ids:
                notes.append(f"The deployed model {deployed} was trained on photos of the sets, "
                             f"which flatters it: {own.told()}.")  # fmt: skip
    return refused, notes


def _answers(
    candidate: Path, deployed: Path | None, one: ReferenceSet, config: DictConfig, notes: list[str]
) -> Answers:
    how = How(
        "test", root=(config.roots or {}).get(one.name), batch_size=config.batch_size,
        workers=config.workers, device=config.device,
    )  # fmt: skip
    said, lacking = judge(candidate, one, how)
    write(said, RunFolder(candidate), part_of(one, how))
    notes += told_lacking(lacking, one)
    classes = one.table["class"].to_numpy(object)
    if deployed is None:
        return Answers(one.name, classes, said.right, lacking=lacking)
    before, without = judge(deployed, one, how)
    return Answers(one.name, classes, said.right, before.right, lacking, without)


def _write(
    folder: Path, candidate: Path, deployed: Path | None, sets: Sequence[ReferenceSet],
    rules: Rules, verdict: Verdict, reasons: Sequence[str], notes: Sequence[str],
) -> Path:  # fmt: skip
    """gate.json and the page; returns the page's path."""
    told: dict[str, Any] = {
        "passed": not reasons,
        "reasons": list(reasons),
        "notes": list(notes),
        "candidate": str(candidate),
        "deployed": None if deployed is None else str(deployed),
        "references": {one.name: one.hash for one in sets},
        "rules": asdict(rules),
        "overall": _rows(verdict.overall),
        "classes": _rows(verdict.classes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    against = f"compared with {deployed}" if deployed else "the first deployment"
    some = "1 reason" if len(reasons) == 1 else f"{len(reasons)} reasons"
    answer = f"{some} against it" if reasons else "nothing speaks against it"
    figure = Figure("FAIL" if reasons else "PASS", f"{candidate.name}: {answer}", "why")
    title = f"May {candidate.name} be deployed?"
    names = ", ".join(f"{one.name} ({len(one.table)} photos)" for one in sets)
    desk = Desk(folder)
    sections = _sections(desk, rules, verdict, reasons)
    page = desk.write(Page(title, f"{names}; {against}", list(notes), [figure], sections))
    write_json(folder / "gate.json", told)
    return page


def _rows(table: pd.DataFrame) -> Any:
    """A table as JSON has it: what is no number is null."""
    return json.loads(table.to_json(orient="records") or "[]")


def _sections(desk: Desk, rules: Rules, verdict: Verdict, reasons: Sequence[str]) -> list[Section]:
    why = Section("why", "Why?", "It fails." if reasons else "It passes every rule below.")
    for reason in reasons:
        why.note(reason)
    sections = [why]
    if len(verdict.overall):
        whole = Section("sets", "On each reference set", "Accuracy of both models on all photos.")
        show: Show = {"set": ("reference", str), "photos": ("photos", str), **FIGURES}
        desk.table(whole, "sets", verdict.overall, "Differences in points, with 95 % intervals of "
                   "photos redrawn in pairs; p of a loss by chance.", show)  # fmt: skip
        each = Section("classes", "Class by class", "The largest losses come first.")
        by = verdict.classes.sort_values("difference", kind="stable")
        matter = {"matters": ("important", lambda v: "yes" if v else "")}
        desk.table(each, "classes", by, "The 50 largest; the file has all.",
                   {"class": ("class", str), "set": ("reference", str), **matter,
                    "photos": ("photos", str), **FIGURES}, 50)  # fmt: skip
        if verdict.blind:
            each.note(
                f"{verdict.blind} of {len(verdict.classes)} classes have so few photos that even "
                "the loss of every one would not be told from chance: add photos to the set, or "
                "name what matters in important.classes."
            )
        sections += [whole, each]
    rule = Section("rules", "The rules", "What was asked of the candidate, as `gate.yaml` has it.")
    rule.definitions(_told(rules))
    return [*sections, rule]


def _told(rules: Rules) -> list[tuple[str, str]]:
    """Each rule by its name on the command line."""

    def at_least(share: float | None) -> str:
        return "none" if share is None else f"at least {percent(share, 1)} right"

    def lost(share: float, of: str) -> str:
        return f"at most {100 * share:g} points lost on {of}, or what chance explains"

    told = [
        ("minimum", at_least(rules.minimum)),
        ("worse_by", lost(rules.worse_by, "a set")),
        ("class_worse_by", lost(rules.class_worse_by, "a class of a set")),
        ("significance", f"{rules.significance:g}"),
        ("important", list_some(rules.important, len(rules.important)) or "no class"),
    ]
    if rules.important:
        told += [
            ("its minimum", at_least(rules.important_minimum)),
            ("its worse_by", lost(rules.important_worse_by, "each of them")),
        ]
    return told
