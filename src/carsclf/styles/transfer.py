"""One photo in the style of one picture."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from carsclf.styles.network import Decoder, Encoder, statistics, toward


@dataclass(frozen=True)
class Transfer:
    """Photos through encoder and decoder, features moved towards those of the style pictures."""

    encoder: Encoder
    decoder: Decoder
    strength: float
    device: torch.device

    @torch.inference_mode()
    def moments(self, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of a style picture's features."""
        return statistics(self.encoder(self._floats(style))[-1])

    @torch.inference_mode()
    def __call__(
        self, photo: torch.Tensor, moments: tuple[torch.Tensor, torch.Tensor]
    ) -> np.ndarray:
        """(3, height, width) uint8 to (height, width, 3), of the same size."""
        height, width = photo.shape[1:]
        step, pictures = self.encoder.step, self._floats(photo)
        # to whole features, and at least four of them, which the decoder's reflections need
        more = [max(4 * step, -(-side // step) * step) - side for side in (width, height)]
        pictures = pad(pictures, (0, more[0], 0, more[1]), mode="replicate")
        features = self.encoder(pictures)[-1]
        moved = features + self.strength * (toward(features, *moments) - features)
        made = self.decoder(moved)[0, :, :height, :width].clamp(0, 1)
        return (made * 255).round().byte().permute(1, 2, 0).cpu().numpy()

    def _floats(self, picture: torch.Tensor) -> torch.Tensor:
        return picture[None].to(self.device).float() / 255
