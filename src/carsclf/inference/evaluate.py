"""`evaluate.py`: what a trained model says of one split, and how right it is."""

from dataclasses import fields
from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table

from carsclf.analysis.metrics import absent_classes, metrics, worst
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample, list_some
from carsclf.errors import ConfigError
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.inference.split import How, open_run, predict_split, write
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import EVALUATE
from carsclf.records import LEAKED, RANDOM_WEIGHTS, Predictions, Run, RunFolder
from carsclf.terminal import terminal


def evaluate(config: DictConfig) -> dict[str, float]:
    """Predictions, per-class accuracy and metrics of `split`: of one run, or of several as one."""
    config = checked(config, EVALUATE)
    check_asked(config)
    how = How(**{field.name: config[field.name] for field in fields(How)})
    if config.reference is not None:
        values = evaluate_reference(
            Path(config.run).expanduser(), config.reference, how, config.worst
        )
        say_next(f"python gate.py {argument('candidate', config.run)} deployed=<run folder>")
        return values
    if config.runs is None:
        values = evaluate_run(Path(config.run).expanduser(), how, config.worst)
        say_next(f"python report.py {argument('runs', [str(Path(config.run).expanduser())])}")
        return values
    from carsclf.inference.ensemble import combine  # scipy takes a while, and train.py reads this

    runs = [Path(run).expanduser() for run in config.runs]
    rule = config.ensemble or "mean"
    folder = Path(config.folder).expanduser() if config.folder else None
    return combine(runs, rule, how, folder=folder, seed=config.seed)


def check_asked(config: DictConfig) -> None:
    """Refuses options that contradict each other."""
    if config.run is None and config.runs is None:
        raise ConfigError("run has no value: give it as run=<run folder>, or several as runs=[...]")
    if config.run is not None and config.runs is not None:
        raise ConfigError("run= is one model and runs=[...] are several as one: give either")
    if config.runs is None:
        for option in ("ensemble", "folder"):
            if config[option] is not None:
                raise ConfigError(f"{option}={config[option]} needs members: runs=[...], not run=")
        return
    if config.reference is not None:
        raise ConfigError("reference= judges one model: give run=<run folder>, not runs=")
    if len({Path(run).expanduser().resolve() for run in config.runs}) < max(2, len(config.runs)):
        raise ConfigError("runs: an ensemble needs two or more runs, each of them once")
    if config.ensemble == "weighted" and config.split == "val":
        raise ConfigError(
            "ensemble=weighted fits its weights on val, so split=val would flatter it: take "
            "split=test, or ensemble=mean"
        )


def evaluate_run(folder: Path, how: How, most: int) -> dict[str, float]:
    """Writes what a run says of a split into its folder, with its worst mistakes; prints it."""
    opened = open_run(folder, how)
    predictions = predict_split(opened, how)
    files, samples = opened.files, opened.data.splits[how.split]
    values = write(predictions, files, how.part)
    if most:
        show_worst(predictions, samples, files, how.part, most)
    place = f"predictions: {files.predictions(how.part)}"
    print_metrics(Run.read(files.run), predictions, how.split, place)
    return values


def evaluate_reference(folder: Path, named: str, how: How, most: int) -> dict[str, float]:
    """As `evaluate_run`, on the photos of a reference set."""
    from carsclf.data.reference import read_reference
    from carsclf.inference.reference import judge, part_of, told_lacking

    reference, files = read_reference(named), RunFolder(folder)
    predictions, lacking = judge(folder, reference, how)
    part = part_of(reference, how)
    values = write(predictions, files, part)
    if most:
        show_worst(predictions, reference.samples(how.root), files, part, most)
    told = [*told_lacking(lacking, reference), f"predictions: {files.predictions(part)}"]
    print_metrics(Run.read(files.run), predictions, f"reference {reference.name}", *told)
    return values


def show_worst(
    predictions: Predictions, samples: list[Sample], files: RunFolder, part: str, most: int
) -> None:
    """A contact sheet of the most confident mistakes: class, predicted class, its probability."""
    from torchvision.transforms.v2.functional import resize

    chosen = worst(predictions.targets, predictions.probabilities, most)
    if not len(chosen):
        return
    names, top = predictions.class_names, predictions.probabilities.max(1)
    pictures = [resize(read_picture(samples[i]), [140, 200]) for i in chosen]
    given, said = predictions.targets, predictions.predicted
    labels = [f"{names[given[i]]} taken for {names[said[i]]} ({top[i]:.0%})" for i in chosen]
    arrays = [picture.permute(1, 2, 0).numpy() for picture in pictures]
    contact_sheet(arrays, labels, files.root / "predictions" / f"{part}_worst.png")


def print_metrics(run: Run, predictions: Predictions, split: str, *more: str) -> None:
    """The table and `more` lines that end a command, on stdout; random weights are marked.

    Classes of which the split has no picture are named, as the macro figure leaves them out.
    """
    values = metrics(predictions.targets, predictions.probabilities)
    table = Table(title=f"{run.model}, {run.mode}, {run.source}")
    for column in ("split (protocol)", "images", "top-1", "top-5", "macro F1", "loss"):
        table.add_column(column)
    shares = (f"{values[name]:.2%}" for name in ("top1", "top5", "macro_f1"))
    images = str(len(predictions.targets))
    table.add_row(f"{split} ({run.protocol})", images, *shares, f"{values['loss']:.3f}")
    console = terminal(soft_wrap=True)
    console.print(table)
    if absent := absent_classes(predictions.targets, predictions.class_names):
        console.print(
            f"macro F1 without the {len(absent)} of {len(predictions.class_names)} classes that "
            f"have no picture in {split}, unless predicted: {list_some(absent)}"
        )
    for line in more:
        console.print(line)
    if run.weights == "random":
        console.print(RANDOM_WEIGHTS)
    if run.leak:
        console.print(LEAKED)
