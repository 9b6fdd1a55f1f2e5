"""`evaluate.py`: what a trained model says of one split, and how right it is."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from carsclf.analysis.metrics import absent_classes, metrics, per_class, worst
from carsclf.data.build import make_data
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample, list_some
from carsclf.errors import CheckpointError, ConfigError, DataError
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.files import atomic_write
from carsclf.inference.predict import load_model, predict
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import EVALUATE
from carsclf.records import RANDOM_WEIGHTS, Predictions, Run, RunFolder
from carsclf.terminal import terminal


def evaluate(config: DictConfig) -> dict[str, float]:
    """Writes predictions and per-class accuracy of `split` into the run folder; prints metrics."""
    config = checked(config, EVALUATE)
    folder = Path(config.run).expanduser()
    files = RunFolder(folder)
    if not files.config.is_file():
        raise CheckpointError(f"run={folder}: no config.yaml there; is it a run folder?")
    trained = OmegaConf.load(files.config)
    trained.data.root = config.root or trained.data.root
    trained.data.workers = config.workers
    model = load_model(folder, device=config.device, channels_last=trained.model.channels_last)
    data, _ = make_data(trained)  # type: ignore[arg-type]
    if data.class_names != model.card.class_names:
        raise DataError(
            f"the photos below {trained.data.root} have {len(data.class_names)} classes that are "
            f"not the model's {len(model.card.class_names)}: is root= right?"
        )
    if config.split not in data.splits:
        raise ConfigError(
            f"split={config.split}: protocol {data.protocol} has {', '.join(data.splits)}"
        )
    samples = data.splits[config.split]
    loader = data.loader_of(samples, batch_size=config.batch_size)
    predictions = predict(model, loader, samples, data.class_names, title="photos")
    values = write(predictions, files, config.split)
    if config.worst:
        show_worst(predictions, samples, files, config.split, config.worst)
    run = Run.read(files.run)
    print_metrics(run, predictions, config.split, f"predictions: {files.predictions(config.split)}")
    say_next(f"python report.py {argument('runs', [str(folder)])}")
    return values


def write(predictions: Predictions, files: RunFolder, split: str) -> dict[str, float]:
    """Predictions as parquet, accuracy per class as CSV; returns the metrics."""
    predictions.write(files.predictions(split))
    table = per_class(predictions.targets, predictions.predicted, predictions.class_names)
    with atomic_write(files.per_class(split)) as temporary:
        table.to_csv(temporary, index=False)
    return metrics(predictions.targets, predictions.probabilities)


def show_worst(
    predictions: Predictions, samples: list[Sample], files: RunFolder, split: str, most: int
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
    contact_sheet(arrays, labels, files.root / "predictions" / f"{split}_worst.png")


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
