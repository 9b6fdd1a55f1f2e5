"""AdaIN as the paper defines it, on any convolutional network; the decoder's training and file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from carsclf.errors import CheckpointError, ConfigError
from carsclf.models.networks import create
from carsclf.styles.decoder import read_decoder, train_decoder, write_decoder
from carsclf.styles.network import Decoder, Encoder, adain
from carsclf.styles.transfer import Transfer

CPU = torch.device("cpu")


def encoder_of(seed: int = 0, stage: int = 2) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(create("test_resnet", num_classes=1), stage, "test_resnet")


def squares(count: int, seed: int) -> list[torch.Tensor]:
    numbers = torch.Generator().manual_seed(seed)
    return [torch.randint(256, (3, 70, 80), generator=numbers).byte() for _ in range(count)]


def test_features_get_the_styles_mean_and_deviation_by_channel() -> None:
    """Worked by hand: of 0, 2, 4 mean 2 and deviation 2; of 10, 13, 16 mean 13 and deviation 3."""
    content = torch.tensor([[[[0.0, 2, 4]], [[5.0, 6, 7]]]])
    style = torch.tensor([[[[10.0, 13, 16]], [[-4.0, 0, 4]]]])
    expected = torch.tensor([[[[10.0, 13, 16]], [[-4.0, 0, 4]]]])
    assert torch.allclose(adain(content, style), expected, atol=1e-4)
    wider = torch.tensor([[[[0.0, 0, 26, 26, 13]], [[1.0, 1, 1, 1, 1]]]])  # of another size
    assert torch.allclose(adain(content, wider)[0, 0, 0], torch.tensor([0.0, 13, 26]), atol=1e-3)
    assert torch.allclose(adain(content, wider)[0, 1, 0], torch.ones(3), atol=1e-2)
    flat = adain(torch.full((1, 2, 1, 3), 7.0), style)
    assert torch.equal(flat, torch.tensor([13.0, 0]).view(1, 2, 1, 1).expand(1, 2, 1, 3))


def test_an_encoder_sees_what_the_network_was_pretrained_with() -> None:
    encoder = encoder_of(stage=3)
    pictures = torch.rand(2, 3, 64, 48)
    config = encoder.network.pretrained_cfg
    mean, std = (torch.tensor(config[k]).view(3, 1, 1) for k in ("mean", "std"))  # type: ignore[index]
    normal = (pictures - mean) / std
    expected = encoder.network.forward_intermediates(normal, intermediates_only=True)[:3]  # type: ignore[operator]
    for found, wanted in zip(encoder(pictures), expected, strict=True):
        assert torch.equal(found, wanted)
    assert encoder.step == 8
    assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "stage", "said"),
    [
        ("test_vit", 2, "model.name=test_vit has no stages that each halve the picture"),
        ("test_resnet", 6, "stage=6: expected 2 to 5 stages of test_resnet"),
    ],
)
def test_networks_that_cannot_be_encoders(name: str, stage: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Encoder(create(name, num_classes=1), stage, name)


@pytest.mark.parametrize("size", [(16, 16), (37, 50), (1, 90), (5, 3)])
def test_a_picture_keeps_its_size_and_strength_0_is_the_reconstruction(
    size: tuple[int, int],
) -> None:
    encoder = encoder_of()
    decoder = Decoder(encoder.channels[-1], encoder.step).eval()
    torch.nn.init.constant_(decoder[-1].bias, 0.5)  # type: ignore[arg-type]
    photo = torch.randint(256, (3, *size)).byte()
    style = squares(1, 1)[0]
    nothing, whole = (Transfer(encoder, decoder, strength, CPU) for strength in (0.0, 1.0))
    made = nothing(photo, nothing.moments(style))
    assert made.shape == (*size, 3)
    assert (made != whole(photo, whole.moments(style))).any()
    if size == (16, 16):  # needs no further pixels
        with torch.no_grad():
            again = decoder(encoder(photo[None].float() / 255)[-1]).clamp(0, 1)[0]
        assert torch.equal(torch.from_numpy(made), (again * 255).round().byte().permute(1, 2, 0))


def trained(steps: int, draft: Path, weight: float = 1.0) -> Decoder:
    return train_decoder(
        encoder_of(),
        squares(3, 2),
        [255 - 40 * picture for picture in squares(2, 3)],
        steps=steps,
        style_weight=weight,
        seed=4,
        draft=draft,
        device=CPU,
    )


def test_a_killed_training_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carsclf.styles import decoder as module

    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    monkeypatch.setattr(module, "CROP", 16)
    whole = trained(5, tmp_path / "whole")
    real, calls = module._loss, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(5, tmp_path / "parts")
    monkeypatch.setattr(module, "_loss", lambda *a: calls.append(1) or real(*a))
    calls.clear()
    parts = trained(5, tmp_path / "parts")
    assert len(calls) == 3  # two of five were kept
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name])


def test_training_learns_to_give_photos_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flat photo, and as style the same: after some steps the decoder gives its colour."""
    monkeypatch.setattr("carsclf.styles.decoder.CROP", 16)
    photo = torch.tensor([200, 60, 90]).byte().view(3, 1, 1).expand(3, 16, 16)
    encoder = encoder_of()

    def off(steps: int) -> float:
        decoder = train_decoder(
            encoder, [photo], [photo], steps=steps, style_weight=1.0, seed=0,
            draft=tmp_path / str(steps), device=CPU,
        )  # fmt: skip
        with torch.no_grad():
            made = decoder(encoder(photo[None].float() / 255)[-1])
        return float((made - photo / 255).abs().mean())

    assert off(40) < off(1) / 4


def test_a_decoder_is_kept_with_what_it_belongs_to(tmp_path: Path) -> None:
    encoder = encoder_of()
    decoder, path = Decoder(encoder.channels[-1], encoder.step), tmp_path / "decoder.safetensors"
    write_decoder(path, decoder, encoder, ["a/ü\n1.jpg", "b"])
    again, seen = read_decoder(path, encoder)
    assert seen == ["a/ü\n1.jpg", "b"]
    assert load_file(path).keys() == decoder.state_dict().keys()
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in decoder.state_dict().items())
    with pytest.raises(ConfigError, match="trained for another encoder"):
        read_decoder(path, encoder_of(seed=1))
    with pytest.raises(ConfigError, match="trained for another encoder"):
        read_decoder(path, encoder_of(stage=3))
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="expected the decoder.safetensors of an earlier"):
        read_decoder(path, encoder)
