"""The model that answers, and the folder or link from which the next one is taken."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from carsclf.data.images import file_identity
from carsclf.errors import CheckpointError, one_line
from carsclf.files import AnyPath
from carsclf.inference.bank import find_openness
from carsclf.inference.deployable import why_not_deployable
from carsclf.inference.openness import Openness
from carsclf.inference.predict import TrainedModel, load_model
from carsclf.records import RunFolder

log = logging.getLogger(__name__)
EVERY = 1.0  # seconds between two looks at the folder
AGAIN = 60.0  # seconds after which a model that could not be taken is tried once more


@dataclass(frozen=True)
class Said:
    """What is said of one picture. probabilities: (k,) float32."""

    probabilities: np.ndarray
    openness: float | None  # as predict.py has it; None where it was not measured for the run


@dataclass(frozen=True, eq=False)
class Served:
    """A model with what names it in every answer."""

    model: TrainedModel
    openness: Openness | None
    run: str  # the run folder's name
    sha256: str  # of model.safetensors

    @property
    def version(self) -> str:
        return f"{self.run}@{self.sha256[:16]}"

    def say(self, pictures: torch.Tensor) -> list[Said]:
        """Of pictures as evaluation shows them, (n, 3, size, size) uint8, in one pass."""
        embeddings, logits = self.model.see(pictures)
        rows = torch.from_numpy(logits).softmax(1).numpy()
        if self.openness is None:
            return [Said(row, None) for row in rows]
        scores = self.openness.score(embeddings, logits).tolist()
        return [Said(row, score) for row, score in zip(rows, scores, strict=True)]


def load_served(folder: AnyPath, device: str = "auto") -> Served:
    """The model of a run folder, tried once.

    Raises CheckpointError for one that cannot be loaded, gives no numbers, or is not to be
    deployed.
    """
    root = Path(folder).expanduser().resolve()  # a link may point elsewhere in the meantime
    weights = RunFolder(root).weights
    before = file_identity(weights)
    model = load_model(root, device=device)
    if why := why_not_deployable(root):
        raise CheckpointError(f"not to be deployed: {why}")
    openness = find_openness(root, model)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if file_identity(weights) != before:
        raise CheckpointError(f"{weights} changed while it was read: start again")
    served = Served(model, openness, root.name, digest)
    size = model.card.eval_transform["size"]
    served.say(model.transform(torch.zeros(3, size, size, dtype=torch.uint8))[None])
    return served


class Deployment:
    """The current model; `start` looks after the folder and takes what is newly there.

    A change counts once two looks agree on it, so that a copy in progress is not read. What cannot
    be loaded, or has gone, leaves the current model where it is, and `problem` says so.
    """

    def __init__(self, run: str, device: str, on_load: Callable[[Served], None]) -> None:
        self._run, self._device, self._on_load = run, device, on_load
        self._stop, self._guard = threading.Event(), threading.Lock()
        self._taken = self._before = self._identity()
        self._refused: list[str | int] | None = None
        self._again, self._why = 0.0, ""
        self.problem: str | None = None
        self.current = self._load()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="deployment", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def look(self) -> None:
        """One look at the folder."""
        with self._guard:
            self._look()

    def _look(self) -> None:
        now = self._identity()
        if now is None:
            self.problem = f"{self._run} holds no model any more: the last one goes on answering"
        elif now == self._taken:
            self.problem = None
        elif now == self._refused and time.monotonic() < self._again:
            self.problem = self._why
        elif now == self._before:
            try:
                before, self.current = self.current.version, self._load()
                self._taken, self._refused, self.problem = now, None, None
                same = before == self.current.version  # its openness or its record is another
                change = "read anew" if same else f"no longer {before}"
                log.info("now serving %s, %s", self.current.version, change)
            except Exception as error:  # whatever is wrong with it, the current model answers
                self._refused, self._again = now, time.monotonic() + AGAIN
                self._why = self.problem = f"another model was not taken: {one_line(error)}"
                log.warning(self.problem)
        self._before = now

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self.look()

    def _load(self) -> Served:
        served = load_served(self._run, self._device)
        self._on_load(served)
        return served

    def _identity(self) -> list[str | int] | None:
        """Changes with the files that make the model; None where they are not there."""
        files = RunFolder(Path(self._run).expanduser().resolve())
        card, weights = file_identity(files.card), file_identity(files.weights)
        if not card or not weights:
            return None
        return [str(files.root), *card, *weights, *(file_identity(files.openness) or [])]
