"""Normalised batches have the values of the definition in every layout."""

import pytest
import torch

from carsclf.models.pixels import Normalise


@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_and_layout(given: torch.memory_format, channels_last: bool) -> None:
    pictures = torch.randint(0, 256, (4, 3, 5, 7), dtype=torch.uint8).to(memory_format=given)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    out = Normalise(mean, std, channels_last=channels_last)(pictures)
    columns = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    expected = (pictures / 255 - next(columns)) / next(columns)
    assert out.is_contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6, check_stride=False)
