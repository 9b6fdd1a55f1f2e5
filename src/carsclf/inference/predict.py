"""Predictions: a forward function over a loader, and a trained model read back from its folder."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

from carsclf.data.datamodule import Item
from carsclf.data.samples import Sample
from carsclf.data.transforms import EvalTransform
from carsclf.errors import CheckpointError
from carsclf.machine.devices import pick_device
from carsclf.machine.memory import keep_freed_memory
from carsclf.models.networks import create
from carsclf.models.pixels import Normalise
from carsclf.records import ModelCard, Predictions, RunFolder


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode, what it was trained to see, and its class names."""

    network: nn.Module
    normalise: Normalise
    transform: EvalTransform
    card: ModelCard
    device: torch.device

    def __call__(self, batch: Item) -> torch.Tensor:
        """Logits (n, classes) of a batch with `pictures` (uint8)."""
        return self.network(self.normalise(batch["pictures"].to(self.device, non_blocking=True)))


def load_model(folder: Path, *, device: str = "auto", channels_last: bool = True) -> TrainedModel:
    """The model of a run folder; needs only `model.json` and `model.safetensors`."""
    from safetensors.torch import load_file

    files = RunFolder(folder)
    card = ModelCard.read(files.card)
    size, args = card.eval_transform["size"], card.model_args
    network = create(card.name, num_classes=len(card.class_names), image_size=size, **args)
    try:
        network.load_state_dict(load_file(files.weights))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{files.weights} cannot be loaded: {error}") from None
    place = pick_device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.eval().requires_grad_(False).to(place, memory_format=layout)  # type: ignore[call-overload]
    normalise = Normalise(card.mean, card.std, channels_last=channels_last).to(place)
    return TrainedModel(network, normalise, EvalTransform(**card.eval_transform), card, place)


@torch.inference_mode()
def predict(
    forward: Callable[[Item], torch.Tensor],
    loader: Iterable[Item],
    samples: Sequence[Sample],
    class_names: list[str],
    *,
    title: str | None = None,
) -> Predictions:
    """Probabilities of every sample, in the loader's order; `title` shows a progress bar."""
    keep_freed_memory()
    batches = track(loader, title, transient=True) if title else loader
    probabilities = torch.cat([forward(batch).float().softmax(1).cpu() for batch in batches])
    return Predictions(
        ids=[sample.id for sample in samples],
        paths=[str(sample.path) for sample in samples],
        targets=torch.tensor([sample.target for sample in samples]).numpy(),
        probabilities=probabilities.numpy(),
        class_names=class_names,
    )
