"""The openness of a run: measured once on its training and validation photos, and kept there."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from carsclf.data.samples import Sample
from carsclf.errors import DataError, mistakes, one_line
from carsclf.inference.openness import Openness
from carsclf.inference.predict import TrainedModel
from carsclf.models.boundary import key_of
from carsclf.records import RunFolder
from carsclf.terminal import terminal

LARGEST = 5_000  # rows of the bank: of more training photos, so many are drawn


def model_key(model: TrainedModel) -> str:
    """A key of all that decides on a model's features: its weights, and what it is shown."""
    card = model.card
    shown = [card.name, card.eval_transform, card.mean, card.std, card.pool, card.embedding]
    text = json.dumps([key_of(model.network.state_dict()), *shown], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def find_openness(folder: Path, model: TrainedModel) -> Openness | None:
    """The one that lies in the run folder, if it is this model's. Raises CheckpointError."""
    path = RunFolder(folder).openness
    if not path.is_file():
        return None
    found = Openness.read(path)
    return found if found.key == model_key(model) else None


def make_openness(
    folder: Path, model: TrainedModel, *, root: str | None = None, batch_size: int = 64
) -> Openness:
    """Measures it on the run's own splits and writes it into the folder.

    root: where the photos lie now, if not where they were. Raises DataError where they cannot be
    had, with what to do.
    """
    from carsclf.inference.split import How, open_run  # which brings the training library

    try:
        run = open_run(folder, How("train", root=root, batch_size=batch_size, device="cpu"))
    except mistakes() as error:
        raise DataError(
            f"openness needs the photos that {folder} was trained on ({one_line(error)}): give "
            "root=<where they lie now>, or copy openness.safetensors from where it was measured; "
            "openness=false does without"
        ) from None

    def looked(samples: Sequence[Sample], what: str) -> tuple[np.ndarray, np.ndarray]:
        bar = terminal(stderr=True)
        batches = run.data.loader_of(samples, batch_size=batch_size)
        watched = track(batches, what, console=bar, transient=True, disable=not bar.is_terminal)
        said = [model.see(batch["pictures"]) for batch in watched]
        return tuple(np.concatenate(part) for part in zip(*said, strict=True))  # type: ignore[return-value]

    train, _ = looked(drawn(run.data.splits["train"]), "features of training photos")
    val, logits = looked(run.data.splits["val"], "features of validation photos")
    openness = Openness.fit(train, val, logits, model_key(model))
    openness.write(run.files.openness)
    return openness


def drawn(samples: Sequence[Sample]) -> list[Sample]:
    """Each photo once, and of many LARGEST, drawn at random; in their order."""
    once = list({sample.id: sample for sample in samples}.values())  # data.bootstrap repeats some
    if len(once) <= LARGEST:
        return once
    chosen = np.random.default_rng(0).choice(len(once), LARGEST, replace=False)
    return [once[i] for i in sorted(chosen.tolist())]
