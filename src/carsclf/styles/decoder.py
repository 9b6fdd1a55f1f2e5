"""The decoder of a style transfer: trained in minutes, on photos and style pictures, and kept."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import atomic_write
from carsclf.models.boundary import key_of
from carsclf.styles.network import Decoder, Encoder, adain, statistics
from carsclf.terminal import terminal

CROP, BATCH = 64, 4  # pixels of both sides; pictures
RATE = 4e-3  # Adam's highest
IDENTITY = 10.0  # weight of the pixels that a photo's own features should give back
SAVE_EVERY = 50  # steps that a kill may cost


def train_decoder(
    encoder: Encoder,
    photos: Sequence[torch.Tensor],
    styles: Sequence[torch.Tensor],
    *,
    steps: int,
    style_weight: float,
    seed: int,
    draft: Path,
    device: torch.device,
) -> Decoder:
    """Steps of Adam on crops of photos and of style pictures, (3, h, w) uint8 of CROP or more.

    The losses are the published ones (equations 11 to 13), each divided by the size of what it
    compares, so that encoders need no weights of their own; and, as few steps are made, the photo's
    own features should give back the photo (Park & Lee 2019, identity loss). A killed training goes
    on from `draft`; crops depend on (seed, step) alone.
    """
    torch.manual_seed(seed)
    decoder = Decoder(encoder.channels[-1], encoder.step)
    decoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(decoder.parameters())
    first = _go_on(draft, decoder, optimizer, steps)
    bar = terminal(stderr=True)
    watched = track(
        range(first, steps), "decoder", console=bar, transient=True, disable=not bar.is_terminal
    )
    for step in watched:
        rng = np.random.default_rng((seed, step))
        content, style = (_crops(pictures, rng, device) for pictures in (photos, styles))
        loss = _loss(encoder, decoder, content, style, style_weight)
        if not torch.isfinite(loss):
            raise CheckpointError(
                f"the decoder's loss is no number at step {step}: is the encoder's?"
            )
        optimizer.param_groups[0]["lr"] = RATE * _share(step, steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % SAVE_EVERY == 0:
            _save(draft, decoder, optimizer, step + 1)
    return decoder.eval()


def _loss(
    encoder: Encoder, decoder: nn.Module, content: torch.Tensor, style: torch.Tensor, weight: float
) -> torch.Tensor:
    with torch.no_grad():
        own, wanted = encoder(content)[-1], encoder(style)
        target = adain(own, wanted[-1])
    made, again = decoder(torch.cat([target, own])).chunk(2)
    found = encoder(made)
    loss = (found[-1] - target).square().mean() / target.square().mean()
    for one, other in zip(found, wanted, strict=True):
        (mean, deviation), (new_mean, new_deviation) = statistics(one), statistics(other)
        apart = (mean - new_mean).square().mean() + (deviation - new_deviation).square().mean()
        loss = loss + weight * apart / other.square().mean()
    return loss + IDENTITY * (again - content).abs().mean()


def _share(step: int, steps: int) -> float:
    """Of the highest rate: up in a tenth of the steps, down along a cosine."""
    up = max(1, steps // 10)
    if step < up:
        return (step + 1) / up
    return (1 + math.cos(math.pi * (step - up) / max(1, steps - up))) / 2


def _crops(
    pictures: Sequence[torch.Tensor], rng: np.random.Generator, device: torch.device
) -> torch.Tensor:
    """BATCH crops of CROP x CROP, (n, 3, h, w) floats in 0..1, half of them mirrored."""
    crops = []
    for picture in (pictures[i] for i in rng.integers(len(pictures), size=BATCH)):
        top, left = (int(rng.integers(side - CROP + 1)) for side in picture.shape[1:])
        crop = picture[:, top : top + CROP, left : left + CROP]
        crops.append(crop.flip(2) if rng.random() < 0.5 else crop)
    return torch.stack(crops).to(device).float() / 255


def _go_on(draft: Path, decoder: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> int:
    """Takes up a killed training; the number of steps it had made."""
    if not draft.is_file():
        return 0
    try:
        state = torch.load(draft, map_location="cpu", weights_only=True)
        decoder.load_state_dict(state["decoder"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:
        raise CheckpointError(f"{draft} cannot be read ({error}): delete it") from None
    return min(int(state["step"]), steps)


def _save(draft: Path, decoder: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {"decoder": decoder.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    with atomic_write(draft) as temporary:
        torch.save(state, temporary)


def write_decoder(
    path: Path, decoder: nn.Module, encoder: Encoder, trained_on: Sequence[str]
) -> None:
    """As safetensors, with what it belongs to and the ids of the photos that it was trained on."""
    told = {"encoder": encoder_key(encoder), "trained_on": list(trained_on)}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in decoder.state_dict().items()}
    with atomic_write(path) as temporary:
        # one entry only: safetensors writes several in any order, and files would differ
        save_file(tensors, temporary, {"decoder": json.dumps(told)})


def read_decoder(path: Path, encoder: Encoder) -> tuple[Decoder, list[str]]:
    """A decoder, and the ids of the photos that it was trained on.

    Raises CheckpointError for what is none, and ConfigError for another encoder's.
    """
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get("decoder", "{}"))
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"decoder={path} cannot be read ({error}): expected the decoder.safetensors of an "
            "earlier stylize.py"
        ) from None
    if told.get("encoder") != encoder_key(encoder):
        raise ConfigError(
            f"decoder={path} was trained for another encoder: give the model, model.weights and "
            "stage that it was made with, or leave decoder= out"
        )
    decoder = Decoder(encoder.channels[-1], encoder.step)
    decoder.load_state_dict(tensors)
    return decoder.eval(), told["trained_on"]


def encoder_key(encoder: Encoder) -> str:
    """A key of its weights and stage."""
    return f"{key_of(encoder.network.state_dict())}-{encoder.stage}"
