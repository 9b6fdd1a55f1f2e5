"""Predictions: a forward function over a loader, and a trained model over any pictures."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import nn

from carsclf.data.images import pixels, read_picture
from carsclf.data.samples import Sample
from carsclf.data.transforms import EvalTransform
from carsclf.data.wholes import Wholes
from carsclf.errors import CarsclfError, CheckpointError, DataError
from carsclf.files import AnyPath
from carsclf.inference.embedding import embed
from carsclf.machine.devices import available_cores, pick_device
from carsclf.machine.memory import keep_freed_memory
from carsclf.models.embedding import add_embedding
from carsclf.models.networks import create
from carsclf.models.pixels import Normalise, stacked
from carsclf.records import LEAKED, ModelCard, Predictions, RunFolder
from carsclf.terminal import terminal

log = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]
Picture = AnyPath | Image.Image | np.ndarray
SomePicture = TypeVar("SomePicture", bound=Picture)
TOGETHER = 4  # pictures that a thread decodes at a time: to hand over each costs as much as a tenth


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture. probabilities: (k,) float32 that sum to 1."""

    predicted: str
    probability: float  # of `predicted`, in [0, 1]
    probabilities: np.ndarray = field(repr=False, compare=False)
    class_names: list[str] = field(repr=False, compare=False)

    @classmethod
    def of(cls, probabilities: np.ndarray, class_names: list[str]) -> "Prediction":
        best = int(probabilities.argmax())
        return cls(class_names[best], float(probabilities[best]), probabilities, class_names)

    def top(self, most: int = 5) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:most]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]


@dataclass(frozen=True)
class Said:
    """What a model says of some pictures, of which m can be read.

    errors: for each picture why it cannot be read, or None; logits, probabilities: (m, k) float32;
    embeddings: (m, width) float32, what its classifier sees.
    """

    errors: list[DataError | None]
    logits: np.ndarray
    probabilities: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode, what it was trained to see, and its class names."""

    network: nn.Module
    normalise: Normalise
    transform: EvalTransform
    card: ModelCard
    device: torch.device

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Logits (n, classes) of a batch with `pictures` (uint8)."""
        pictures = self.normalise(batch["pictures"].to(self.device, non_blocking=True))
        return self.wholes.logits(self.network(pictures))

    @cached_property
    def wholes(self) -> Wholes:
        """As what the classes of the network's head are told."""
        return Wholes.of(self.card.rows, self.card.parts)

    @overload
    def predict(self, pictures: Picture, *, batch_size: int = ...) -> Prediction: ...
    @overload
    def predict(
        self, pictures: list[SomePicture] | tuple[SomePicture, ...], *, batch_size: int = ...
    ) -> list[Prediction]: ...
    def predict(
        self, pictures: Picture | Sequence[Picture], *, batch_size: int = 64
    ) -> Prediction | list[Prediction]:
        """What the model says of a picture, or of each in a list or tuple.

        A picture is a path, a PIL image, or an array (height, width[, channels]) of uint8. Raises
        DataError for the first that cannot be read; `stream` goes on without those.
        """
        several = isinstance(pictures, list | tuple)
        listed: Sequence[Picture] = pictures if several else [pictures]  # type: ignore[list-item]
        found: list[Prediction] = []
        for prediction in self.stream(listed, batch_size=batch_size):
            if isinstance(prediction, DataError):
                raise prediction
            found.append(prediction)
        return found if several else found[0]

    def stream(
        self, pictures: Iterable[Picture], *, batch_size: int = 64
    ) -> Iterator[Prediction | DataError]:
        """A prediction for each picture, in order, or the reason why it cannot be read.

        Memory stays bounded however many there are; see `look`.
        """
        rest = iter(pictures)
        chunks = iter(lambda: list(islice(rest, batch_size)), [])
        for said in self.look(chunks):
            rows = iter(said.probabilities)
            for error in said.errors:
                yield error or Prediction.of(next(rows), self.card.class_names)

    def look(self, batches: Iterable[Sequence[Picture]]) -> Iterator[Said]:
        """What the model says of each batch, with the features that its classifier sees.

        Pictures are decoded by as many threads as there are cores (Pillow lets go of the
        interpreter), one batch ahead of the network.
        """
        _note_boxes(self.card.crop)
        ahead = deque[list[Future[list[torch.Tensor | DataError]]]]()
        pool = ThreadPoolExecutor(available_cores())
        try:
            for batch in batches:
                some = (batch[i : i + TOGETHER] for i in range(0, len(batch), TOGETHER))
                ahead.append([pool.submit(self._seen, pictures) for pictures in some])
                if len(ahead) > 1:
                    yield self._said(ahead.popleft())
            while ahead:
                yield self._said(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _seen(self, pictures: Sequence[Picture]) -> list[torch.Tensor | DataError]:
        """Each picture as the network gets it in evaluation, (3, size, size) uint8."""
        return [self._one_seen(picture) for picture in pictures]

    def _one_seen(self, picture: Picture) -> torch.Tensor | DataError:
        try:
            return self.transform(_decoded(picture))
        except DataError as error:
            return error

    @torch.inference_mode()
    def see(self, pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (n, width) and logits (n, k), float32, of uint8 pictures (n, 3, h, w)."""
        batch = self.normalise(pictures.to(self.device, non_blocking=True))
        rows, embeddings = embed(self.network, batch)
        logits, embeddings = self.wholes.logits(rows).float().cpu(), embeddings.float().cpu()
        if not torch.isfinite(logits).all():
            raise CheckpointError(
                f"this {self.card.name} gives NaN instead of probabilities: is its "
                "model.safetensors damaged, or did its training diverge?"
            )
        return embeddings.numpy(), logits.numpy()

    def _said(self, seen: Iterable[Future[list[torch.Tensor | DataError]]]) -> Said:
        pictures = [picture for some in seen for picture in some.result()]
        errors = [picture if isinstance(picture, DataError) else None for picture in pictures]
        readable = [picture for picture in pictures if isinstance(picture, torch.Tensor)]
        if not readable:
            none = np.empty((0, 0), np.float32)
            return Said(errors, none, none, none)
        embeddings, logits = self.see(stacked(readable))
        probabilities = torch.from_numpy(logits).softmax(1).numpy()
        return Said(errors, logits, probabilities, embeddings)


def load_model(
    folder: AnyPath, *, device: str = "auto", channels_last: bool = True
) -> TrainedModel:
    """The model of a run folder; needs only `model.json` and `model.safetensors`.

    From here on the process keeps the memory that batches free. Raises CheckpointError for a folder
    without them, an unfinished run, or damaged files.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    keep_freed_memory()
    files = RunFolder(folder)
    files.refuse_gan()
    card = _card(files)
    if card.leak:
        log.warning("%s: %s", files.root, LEAKED)
    size, args = card.eval_transform["size"], card.model_args
    network = create(card.name, num_classes=len(card.rows), image_size=size, pool=card.pool, **args)
    if card.embedding:
        add_embedding(network, card.embedding, card.name)
    try:
        network.load_state_dict(load_file(files.weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{files.weights} cannot be loaded, it is missing, damaged or of another network "
            f"({reason[:200]}): copy it again from where it was trained"
        ) from None
    place = pick_device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.eval().requires_grad_(False).to(place, memory_format=layout)  # type: ignore[call-overload]
    normalise = Normalise(card.mean, card.std, channels_last=channels_last).to(place)
    return TrainedModel(network, normalise, EvalTransform(**card.eval_transform), card, place)


@torch.inference_mode()
def predict(
    forward: Callable[[Batch], torch.Tensor],
    loader: Iterable[Batch],
    samples: Sequence[Sample],
    class_names: list[str],
    *,
    title: str | None = None,
) -> Predictions:
    """Probabilities of every sample, in the loader's order; `title` shows a progress bar."""
    keep_freed_memory()
    bar = terminal(stderr=True)
    silent = title is None or not bar.is_terminal
    batches = track(loader, title or "", transient=True, console=bar, disable=silent)
    probabilities = torch.cat([forward(batch).float().softmax(1).cpu() for batch in batches])
    return Predictions(
        ids=[sample.id for sample in samples],
        paths=[str(sample.path) for sample in samples],
        targets=torch.tensor([sample.target for sample in samples]).numpy(),
        probabilities=probabilities.numpy(),
        class_names=class_names,
    )


def _card(files: RunFolder) -> ModelCard:
    if not files.root.is_dir():
        raise CheckpointError(f"{files.root} is no folder: give a run folder, runs/train/<name>")
    if not files.card.is_file() and files.config.is_file():
        raise CheckpointError(
            f"the run in {files.root} is not finished, so there is no model.json yet: "
            f"python train.py resume={files.root}"
        )
    if not files.card.is_file():
        raise CheckpointError(f"{files.root} holds no model.json: is it a run folder?")
    return ModelCard.read(files.card)


def _decoded(picture: Picture) -> torch.Tensor:
    """(3, height, width) uint8 of whatever a picture is given as."""
    if isinstance(picture, str | os.PathLike):
        return _read(Path(picture).expanduser())
    if isinstance(picture, np.ndarray):
        picture = _from_array(picture)
    if not isinstance(picture, Image.Image):
        raise DataError(
            f"expected a path, a PIL image, a uint8 array or a list of them, not a "
            f"{type(picture).__name__}"
        )
    try:
        return pixels(picture)
    except (OSError, DataError) as error:  # PIL decodes when it must
        raise DataError(f"this PIL image cannot be read ({error})") from None


def _read(path: Path) -> torch.Tensor:
    if path.is_dir():
        raise DataError(
            f"{path} is a folder: give a list of its files, or predict.py images={path}"
        )
    if not path.is_file():
        raise DataError(f"{path} is not there: expected a picture")
    try:
        return read_picture(Sample(str(path), path, -1))
    except CarsclfError as error:  # whose remedies are those of a training
        raise DataError(
            f"{path} cannot be read as a picture ({error.__context__ or error})"
        ) from None


def _from_array(array: np.ndarray) -> Image.Image:
    expected = "expected (height, width[, channels]) of uint8 in 0..255"
    if array.dtype != np.uint8:
        raise DataError(f"an array of {array.dtype}: {expected}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    try:
        if array.size == 0 or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
            raise TypeError
        return Image.fromarray(array)
    except TypeError:
        raise DataError(f"an array of shape {array.shape}: {expected}") from None


@cache
def _note_boxes(crop: str) -> None:
    """Once per process: what such a model is shown here is not what it was trained on."""
    if crop == "box":
        log.warning(
            "this model was trained on cars cut out along their boxes (data.crop=box); it is shown "
            "whole pictures here: cut the cars out first, or expect more mistakes"
        )
