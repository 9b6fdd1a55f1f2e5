"""What a training of the final is judged by, read from its run folder."""

import numpy as np

from carsclf.errors import CarsclfError
from carsclf.records import Predictions, RunFolder
from carsclf.tuning.study.final import Array, Outcome


def read_outcome(files: RunFolder, score: float, metric: str) -> Outcome:
    """The score, and where predictions say it what each validation photo adds to it.

    Known for `val/top1` (1: right) and `val/loss` (log of the true class's probability).
    """
    try:
        predictions = Predictions.read(files.predictions("val"))
    except CarsclfError:
        return Outcome(score)
    photos: Array
    if metric == "val/top1":
        photos = predictions.right.astype(float)
    elif metric == "val/loss":
        own = predictions.probabilities[np.arange(len(predictions.targets)), predictions.targets]
        photos = np.log(np.maximum(own.astype(float), np.finfo(np.float32).tiny))
    else:
        return Outcome(score)
    return Outcome(score, photos[np.argsort(predictions.ids)])
