"""The commands that a page prints: what was typed, to be typed again, and what is still missing."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from carsclf.report.context import Context
from carsclf.report.flat import Flat
from carsclf.report.material import TrainedRun
from carsclf.report.studies import StudyMaterial
from carsclf.report.words import placeless

FOLDER = "repeat"
"""Where repetitions go, beside what they repeat."""
ELSEWHERE = "# <...> lies elsewhere on the machine that wrote this: put your own path in its place"
SETTLED = ("trainer.precision", "model.channels_last")
"""What `auto` became is part of the configuration: another machine might choose otherwise."""
SPLITS = ("protocol", "val_fraction", "test_fraction", "split_seed", "fraction", "classes")
DATA = ("root", "crop", "margin", "image_size", "min_images_per_class", *SPLITS)


def this_page(context: Context) -> list[str]:
    """The page again, from the same folders."""
    material = context.material
    studies = [local(s.folder) for s in material.studies]
    runs = [local(r.folder) for r in by_hand(context)]
    return explained([report_command(context, studies, runs, local(context.desk.folder))])


def everything(context: Context) -> list[str]:
    """Studies, trainings, predictions and the page, from nothing, into FOLDER."""
    material, runs = context.material, by_hand(context)
    lines = [study_command(study) for study in material.studies]
    named = list(zip(runs, names_of(runs), strict=True))
    lines += [run_command(run, name) for run, name in named]
    again = {str(r.folder): f"{FOLDER}/{name}" for r, name in named if r.overrides is not None}
    if material.clean:
        lines += evaluation(list(again.values()))
        finals = [s for s in material.studies if s.finals and begun(s) is not None]
        lines += [final_evaluation(f"{FOLDER}/{study.name}") for study in finals]
    studies = [
        local(s.folder) if begun(s) is None else f"{FOLDER}/{s.name}" for s in material.studies
    ]
    folders = [again.get(str(run.folder)) or local(run.folder) for run in runs]
    return explained([*lines, report_command(context, studies, folders, f"{FOLDER}/report")])


def by_hand(context: Context) -> list[TrainedRun]:
    """The runs that no study's final trained: those are repeated, and named, with their study."""
    return [run for run in context.material.runs if run.study is None]


def evaluation(runs: Sequence[str], split: str = "test") -> list[str]:
    """Predictions of runs, in one go."""
    if not runs:
        return []
    several = ["-m"] * (len(runs) > 1)
    return [shell("python evaluate.py", *several, f"run={','.join(runs)}", f"split={split}")]


def final_evaluation(study: str) -> str:
    """Of whatever came into the final of a study repeated: on several workers, maybe others."""
    runs = f"$(ls -d {shlex.quote(f'{study}/final')}/* | paste -sd,)"
    return f'python evaluate.py -m "run={runs}" split=test'


def study_command(study: StudyMaterial) -> str:
    """As it was started, under its own name."""
    overrides = begun(study)
    if overrides is None:
        return f"# {study.name}: its command was not recorded (no events.jsonl)"
    return shell("python tune.py", *placed(overrides, study.config), *into(study.name))


def retrained(study: StudyMaterial) -> str:
    """How its proposal is trained anew, at full length."""
    at, summary = local(study.folder), study.summary
    if summary.winner == study.proposed:
        return shell("python train.py", f"overrides={at}/best.yaml", "seed=1")
    if not summary.finished:
        return f"{shell('python tune.py', f'resume={at}')}, which ends with a final"
    return "a study with a larger search.budget or search.hours ends with a final, which does it"


def begun(study: StudyMaterial) -> list[str] | None:
    """The overrides that a study began with; None where no journal tells."""
    event = next((e for e in study.events if e.get("kind") == "study"), None)
    return None if event is None else without(event.get("overrides", []), "name", "runs", "resume")


def run_command(run: TrainedRun, name: str) -> str:
    """As it was started, with what the machine settled; a comment where that is not known."""
    if run.overrides is None:
        return (
            f"# {run.name}: its command was not recorded; its settings are in "
            f"{link(run)}/config.yaml"
        )
    typed = {o.partition("=")[0] for o in run.overrides}
    settled = [k for k in SETTLED if k not in typed and run.config.get(k) is not None]
    fixed = [f"{key}={written(run.config[key])}" for key in settled]
    return shell("python train.py", *placed(run.overrides, run.config), *fixed, *into(name))


def report_command(
    context: Context, studies: Sequence[str], runs: Sequence[str], folder: str | None = None
) -> str:
    """A page from these folders, with the options of this one."""
    said = [f"studies=[{','.join(studies)}]"] * bool(studies)
    said += [f"runs=[{','.join(runs)}]"] * bool(runs)
    options = without(context.options, "studies", "runs", "folder", "upload", "project", "entity")
    said += [f"folder={folder}"] * (folder not in (None, "report"))
    return shell("python report.py", *said, *placed(options, {}))


def to_get_a_run(context: Context, mode: str, model: str | None) -> list[str]:
    """A training in another mode, on the same data, and the page with it."""
    network = [f"model.name={model}"] if model else []
    train = shell("python train.py", f"mode={mode}", *network, *data_options(context), *into(mode))
    return explained([train, *_evaluated(context, mode), _with(context, run=f"{FOLDER}/{mode}")])


def to_get_a_study(context: Context) -> list[str]:
    """A search on the same data, and the page with it."""
    tune = shell("python tune.py", *data_options(context), *into("study"))
    return explained([tune, _with(context, study=f"{FOLDER}/study")])


def to_get_predictions(context: Context) -> list[str]:
    """Of each run that has none."""
    runs = [run for run in context.material.runs if not run.predictions] or context.material.runs
    split = "test" if any(run.run.split_sizes.get("test") for run in runs) else "val"
    return explained(evaluation([at(run) for run in runs] or ["runs/train/<run>"], split))


def to_judge_on_test(context: Context) -> list[str]:
    """Predictions of test for every run that lacks them, where the protocol has a test split."""
    runs = [r for r in context.material.runs if "test" not in r.predictions]
    there = [at(run) for run in runs if run.run.split_sizes.get("test")]
    return explained(evaluation(there)) if there else []


def _evaluated(context: Context, name: str) -> list[str]:
    if not context.material.clean:
        return []
    return [shell("python evaluate.py", f"run={FOLDER}/{name}", "split=test")]


def _with(context: Context, *, run: str | None = None, study: str | None = None) -> str:
    material = context.material
    studies = [*(local(s.folder) for s in material.studies), *([study] if study else [])]
    runs = [*(local(r.folder) for r in by_hand(context)), *([run] if run else [])]
    return report_command(context, studies, runs, f"{FOLDER}/report")


def data_options(context: Context) -> list[str]:
    """The data of this page, as overrides."""
    parts = [*context.material.runs, *context.material.studies]
    config = parts[0].config
    keys = [f"data.{key}" for key in DATA] + [k for k in config if k.startswith("data.source.")]
    kept = {k: config[k] for k in keys if config.get(k) is not None and "_target_" not in k}
    options = [f"{key}={written(value)}" for key, value in kept.items()]
    return [f"data={config.get('data.name')}", *placed(options, config)]


def into(name: str) -> list[str]:
    """Where a repetition goes."""
    return [f"runs={FOLDER}", f"name={written(name)}"]


def names_of(runs: Sequence[TrainedRun]) -> list[str]:
    """Each run's name, with its parent's before it where two are called the same."""
    names = [run.name for run in runs]
    return [
        n if names.count(n) == 1 else f"{r.folder.parent.name}-{n}"
        for r, n in zip(runs, names, strict=True)
    ]


def without(overrides: Iterable[str], *keys: str) -> list[str]:
    """Overrides of other keys."""
    return [o for o in overrides if o.partition("=")[0].lstrip("+~") not in keys]


def placed(overrides: Iterable[str], config: Flat) -> list[str]:
    """Paths as seen from here, the configuration's absolute ones instead of what was typed."""
    found = []
    for override in overrides:
        key, sign, value = override.partition("=")
        known = config.get(key.lstrip("+"))
        path = known if isinstance(known, str) and known.startswith("/") else value.strip("'\"")
        if sign and path.startswith("/"):
            found.append(f"{key}={written(local(Path(path)))}")
        else:
            found.append(placeless(override.replace(f"{Path.cwd()}/", "")))
    return found


def written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list):
        return f"[{','.join(written(item) for item in value)}]"
    text = str(value)
    if not isinstance(value, str) or re.fullmatch(r"[\w./@+:<>-]*[A-Za-z/._-][\w./@+:<>-]*", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def shell(program: str, *arguments: str) -> str:
    """A line for the shell; brackets of lists stay bare, as everywhere in the documentation."""
    bare = re.compile(r"[\w@%+=:,./\[\]~-]+")
    return " ".join([program, *(a if bare.fullmatch(a) else shlex.quote(a) for a in arguments)])


def explained(lines: list[str]) -> list[str]:
    """With a line on placeholders where there are some."""
    return [ELSEWHERE, *lines] if any(re.search(r"<[^>]+>", line) for line in lines) else lines


def local(folder: Path) -> str:
    """A path as seen from where the commands were typed, else a placeholder."""
    here = Path(os.path.relpath(folder.resolve()))
    return f"<{folder.name}>" if here.parts[:1] == ("..",) else here.as_posix()


def at(run: TrainedRun) -> str:
    """A run folder as seen from here; of a final, below its study."""
    if run.study is None:
        return local(run.folder)
    return f"{local(run.study.folder)}/{run.folder.relative_to(run.study.folder).as_posix()}"


def link(run: TrainedRun) -> str:
    """The same, for a reader: its name where it lies elsewhere; no machine's paths."""
    return at(run).replace("<", "").replace(">", "")
