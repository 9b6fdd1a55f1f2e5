"""The commands that repeat each part of an advice."""

from collections.abc import Mapping
from pathlib import Path

from carsclf.advising.plan import typed
from carsclf.report.advice.material import Material
from carsclf.report.page import Section
from carsclf.report.repeat import ELSEWHERE, local, shell


def section(material: Material) -> Section:
    """One part after the other, as they are typed where this advice was."""
    one = Section("commands", "Each part again", "Typed in the folder where this advice was asked.")
    folder, advice = local(material.advice.folder.root), material.advice
    root = advice.folder.root
    one.commands([_advice(material)], "All of it, anew:")
    other = shell("python advise.py", f"resume={folder}", "plan.mode=freeze")
    one.commands([other], "Another plan on the same measurements (plan.network, plan.mode, "
                 "plan.image_size, plan.epochs, plan.search):")  # fmt: skip
    heads = [c for c in material.plan.choices if c.mode == "freeze"]
    lines = [shell("python train.py", *c.after(advice.overrides), f"name={c.name}") for c in heads]
    if lines:
        one.commands(lines, "The heads of the probes, as runs:")
    shorts = sorted((root / "short").glob("*/overrides.yaml"))
    if shorts:
        one.commands(
            [shell("python train.py", f"overrides={_at(root, f)}") for f in shorts],
            "The short trainings:",
        )
    told = material.plan.overrides
    if material.outcome.study:
        hours = f"search.hours={material.plan.search_hours}"
        one.commands([shell("python tune.py", *told, hours)], "The study:")
    else:
        run = root / material.training.folder / "overrides.yaml"
        one.commands([shell("python train.py", f"overrides={_at(root, run)}")], "The training:")
    runs = [m for m in (material.training, material.head) if m is not None]
    folders = dict.fromkeys(_at(root, root / model.folder) for model in runs)
    split = f"split={material.outcome.split}"
    one.commands([shell("python evaluate.py", f"run={f}", split) for f in folders], "Judging:")
    winner = _at(root, root / material.winner.folder)
    one.commands(
        [shell("python predict.py", f"run={winner}", "images=photos"),
         shell("python serve.py", f"run={winner}")],
        "The winner in use:",
    )  # fmt: skip
    if any("<" in line for part in one.parts for line in part.content):
        one.note(ELSEWHERE.removeprefix("# "))
    return one


def _at(root: Path, path: Path) -> str:
    """A path below the advice's folder, as it is typed."""
    return f"{local(root)}/{path.relative_to(root).as_posix()}"


def _advice(material: Material) -> str:
    advice = material.advice
    asked = [*advice.overrides, f"hours={advice.hours:g}"]
    if advice.latency_ms is not None:
        asked.append(f"latency_ms={advice.latency_ms:g}")
    if advice.weights is not None:
        asked.append(f"weights={typed(str(advice.weights))}")
    named = ",".join(_candidate(one) for one in advice.candidates)
    asked.append(f"candidates=[{named}]")
    asked += [f"plan.{key}={str(v).lower() if isinstance(v, bool) else v}"
              for key, v in material.plan.asked.items()]  # fmt: skip
    return shell("python advise.py", *asked)


def _candidate(one: str | Mapping[str, str]) -> str:
    if isinstance(one, str):
        return typed(one)
    return "{" + ",".join(f"{key}: {typed(str(v))}" for key, v in one.items()) + "}"
