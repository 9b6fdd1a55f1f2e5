"""What a team looks at in Weights & Biases at the end of a run: confusion, and worst mistakes."""

from typing import Any

import numpy as np

from carsclf.analysis.metrics import worst
from carsclf.data.images import read_picture
from carsclf.data.samples import Sample
from carsclf.records import Predictions, Run

MISTAKES = 24


def close_wandb(run: Run, predictions: Predictions | None, samples: list[Sample]) -> None:
    """Logs the results of a finished run, if it is one, and ends the W&B run either way."""
    import wandb

    if predictions is not None and wandb.run is not None:
        log_results(wandb.run, run, predictions, samples)
    wandb.finish()  # the next trial in this process begins its own


def log_results(experiment: Any, run: Run, predictions: Predictions, samples: list[Sample]) -> None:
    """Logs the confusion matrix and a table of the worst mistakes with their pictures.

    `experiment` is a wandb run; works offline as well.
    """
    import wandb

    names, said = predictions.class_names, predictions.predicted
    table = wandb.Table(["picture", "class", "predicted", "probability", "id"])
    pictures = []
    for i in worst(predictions.targets, predictions.probabilities, MISTAKES):
        picture = read_picture(samples[i]).permute(1, 2, 0).numpy()
        given, taken = names[predictions.targets[i]], names[said[i]]
        probability = float(predictions.probabilities[i].max())
        table.add_data(wandb.Image(picture), given, taken, probability, predictions.ids[i])
        pictures.append(
            wandb.Image(picture, caption=f"{given} taken for {taken} ({probability:.0%})")
        )
    matrix = wandb.plot.confusion_matrix(
        y_true=predictions.targets.tolist(), preds=np.asarray(said).tolist(), class_names=names
    )
    experiment.log({"confusion_matrix": matrix, "worst_mistakes": table})
    if pictures:  # as a panel too: a table's pictures are only shown once it is synced
        experiment.log({"worst_pictures": pictures})
    experiment.summary.update({"reported_epoch": run.reported_epoch, **run.metrics})
