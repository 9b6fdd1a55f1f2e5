"""Where a network looked (Grad-CAM, Selvaraju et al., ICCV 2017), through the grad-cam package."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from carsclf.errors import ConfigError, DataError
from carsclf.records import Predictions
from carsclf.report.gallery import WIDTH, photo_path


def overlays(
    folder: Path, predictions: Predictions, indices: Sequence[int], root: str | None
) -> dict[int, bytes]:
    """index -> JPEG of the picture as the network saw it, under the map for the predicted class.

    Maps are taken behind the backbone's last stage. Raises ConfigError where the package is not
    installed or the network has no stages.
    """
    try:
        from pytorch_grad_cam import GradCAM  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            f"attention=true needs the grad-cam package ({error}): pip install 'carsclf[attention]'"
        ) from None
    from carsclf.data.images import read_picture
    from carsclf.data.samples import Sample
    from carsclf.inference.predict import load_model

    model = load_model(folder, device="cpu")
    stages: Any = getattr(model.network, "feature_info", None)
    if not stages:
        raise ConfigError(f"attention=true: timm names no stages of {model.card.name}")
    layer = model.network.get_submodule(stages[-1]["module"])
    made = {}
    with GradCAM(model=model.network.requires_grad_(True), target_layers=[layer]) as cam:
        for index in indices:
            path = photo_path(predictions, index, root)
            try:
                picture = model.transform(read_picture(Sample(predictions.ids[index], path, 0)))
            except DataError:
                continue  # a placeholder stands in the gallery
            said = int(predictions.predicted[index])
            targets = [lambda out, said=said: model.wholes.logits(out[None])[0, said]]
            heat = cam(input_tensor=model.normalise(picture[None]), targets=targets)[0]
            made[int(index)] = overlay(picture.permute(1, 2, 0).numpy(), heat)
    return made


def overlay(picture: np.ndarray, heat: np.ndarray) -> bytes:
    """(h, w, 3) uint8 under (h, w) heat in [0, 1], as a JPEG; unheated parts keep their colour."""
    colours = 255 * colormaps["inferno"](heat)[..., :3]
    weight = 0.65 * heat[..., None]
    mixed = (picture * (1 - weight) + colours * weight).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(mixed)
    image.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
