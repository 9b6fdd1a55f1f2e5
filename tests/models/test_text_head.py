"""A head made of class names, against open_clip's own two towers on the same pictures.

The CLIP is a tiny one with random weights: real ones cannot be had in tests.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torchvision.transforms.functional import to_tensor

from carsclf.errors import CheckpointError, ConfigError
from carsclf.inference.predict import load_model
from carsclf.models import text_head
from carsclf.models.boundary import cut
from carsclf.models.embedding import add_embedding, embedding_width
from carsclf.models.heads import Head
from carsclf.models.networks import build_network, create
from carsclf.models.text_head import CONFIG, build_text_network, find_tower
from carsclf.records import Predictions, RunFolder
from carsclf.training.checks import check_training
from carsclf.training.run import fit

open_clip = pytest.importorskip("open_clip")

NAME, SIDE, WIDTH = "vit_base_patch16_clip_224.openai", 32, 24
ARGS = {"embed_dim": 64, "depth": 2, "num_heads": 1}
MODEL = {
    "embed_dim": WIDTH,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },
}
CARS = ["Audi S4 Sedan", "BMW M5 Sedan", "Fiat 500 Abarth"]  # 16 tokens hold no year as well
OPENAI = [  # CLIP's prompts for Stanford Cars, in another notation
    *(lambda c, a=a: f"a photo of {a} {c}." for a in ("a", "the", "my")),
    lambda c: f"i love my {c}!",
    *(lambda c, a=a: f"a photo of my {a} {c}." for a in ("dirty", "clean", "new", "old")),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder as open_clip writes it, and the model that is in it."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**MODEL).eval()
    with torch.no_grad():  # fresh embeddings of different pictures are too much alike
        model.visual.proj.normal_()
        model.logit_scale.fill_(3.0)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": {}}))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder, model


def build(folder: Path | str, names: list[str], **changes: Any) -> Any:
    given = {"weights": str(folder), "text": "auto", "seed": 0, "image_size": SIDE}
    return build_text_network(NAME, names, **{**given, "model_args": ARGS, **changes})


def of_open_clip(model: Any, pictures: torch.Tensor, names: list[str]) -> torch.Tensor:
    """Logits of its own zero-shot classifier, (n, classes)."""
    rows = open_clip.build_zero_shot_classifier(
        model, open_clip.SimpleTokenizer(context_length=16), names, OPENAI
    )
    with torch.no_grad():
        return model.logit_scale.exp() * model.encode_image(pictures, normalize=True) @ rows


def test_logits_are_those_of_both_towers(clip: tuple[Path, Any]) -> None:
    folder, model = clip
    network, weights = build(folder, CARS)
    pictures = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    expected = of_open_clip(model, pictures, CARS)
    assert expected.std(0).min() > 0.01  # they tell pictures and classes apart
    assert expected.std(1).min() > 0.01
    with torch.no_grad():
        assert torch.allclose(network.eval()(pictures), expected, atol=1e-4)
    assert "head made of 3 class names" in str(weights)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("test_vit", {"image_size": 64}),
        ("test_convnext", {}),
        ("eva02_base_patch16_clip_224", {**ARGS, "image_size": 64}),
    ],
)
def test_the_embedding_is_the_projection_at_unit_length(name: str, args: dict[str, Any]) -> None:
    network: Any = create(name, num_classes=5, **args).eval()
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        pooled = network.forward_head(network.forward_features(pictures), pre_logits=True)
        embedding, classifier = add_embedding(network, 7, name)
        projected = pooled @ embedding.weight.T + embedding.bias
        unit = projected / projected.square().sum(1, keepdim=True).sqrt()
        expected = unit @ classifier.weight.T + classifier.bias
        assert torch.allclose(network(pictures), expected, atol=1e-5)
    assert embedding_width(network) == 7
    assert embedding_width(create(name, **args)) is None
    prefix, head = cut(network, "head", 64)
    assert torch.allclose(prefix(pictures), unit, atol=1e-5)
    assert isinstance(head, Head)
    assert head.linear is not None


def settings(tiny: list[str], folder: Path, *more: str) -> list[str]:
    mine = ("model.name", "model.weights", "trainer.max_epochs")
    own = [f"+model.args.{key}={value}" for key, value in ARGS.items()]
    kept = [o for o in tiny if not o.startswith(mine)]
    return [*kept, f"model.name={NAME}", f"model.weights={folder}", "model.text=auto", *own, *more]


@pytest.mark.parametrize("mode", ["freeze", "finetune"])
def test_it_classifies_untrained(
    clip: tuple[Path, Any],
    mode: str,
    tiny: list[str],
    config_of: Callable[..., DictConfig],
    tmp_path: Path,
) -> None:
    folder, model = clip
    config = config_of(*settings(tiny, folder, "trainer.max_epochs=0", f"mode={mode}"))
    check_training(config)
    run = fit(config, tmp_path / "run")
    assert (run.epochs, run.reported_epoch, run.finished) == (0, 0, True)
    found = Predictions.read(RunFolder(tmp_path / "run").predictions("val"))
    trained = load_model(tmp_path / "run")
    seen = torch.stack([trained.transform(torch.from_numpy(_array(p))) for p in found.paths])
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    pictures = (seen.float() / 255 - mean) / std
    expected = of_open_clip(model, pictures, found.class_names).softmax(1)
    assert torch.allclose(torch.tensor(found.probabilities), expected, atol=1e-4)
    again = trained.predict([Path(p) for p in found.paths[:3]])
    assert [p.predicted for p in again] == [found.class_names[i] for i in found.predicted[:3]]


@pytest.mark.parametrize("mode", ["freeze", "finetune"])
def test_it_is_where_training_starts(
    clip: tuple[Path, Any],
    mode: str,
    tiny: list[str],
    config_of: Callable[..., DictConfig],
    tmp_path: Path,
) -> None:
    """With a rate that hardly changes anything, the epoch's figures are those of no training."""
    told = [f"mode={mode}", "optimizer=sgd", "schedule=constant"]

    def metrics(epochs: int, rate: float) -> dict[str, float]:
        more = (*told, f"trainer.max_epochs={epochs}", f"optimizer.lr={rate}")
        return fit(
            config_of(*settings(tiny, clip[0], *more)), tmp_path / f"{epochs} {rate}"
        ).metrics

    untrained = metrics(0, 0.1)
    assert metrics(1, 1e-12) == pytest.approx(untrained, abs=1e-4)
    assert metrics(3, 0.1)["val/loss"] < untrained["val/loss"]


CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]  # as OpenAI normalised pictures
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def _array(path: str) -> Any:
    return (to_tensor(Image.open(path).convert("RGB")) * 255).round().byte().numpy()


def test_what_cannot_be_is_said(clip: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = clip
    with pytest.raises(ConfigError, match="'Audi .*' is too long .* reads 16 tokens a sentence"):
        build(folder, ["Audi " * 12])
    with pytest.raises(ConfigError, match="leave out model.weights"):
        build("none", CARS)
    torch.save(create("test_vit").state_dict(), tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match="do not fit"):
        build(tmp_path / "vit.pth", CARS, text=str(folder))
    plain = build_network(
        NAME, num_classes=3, weights="none", seed=0, image_size=SIDE, model_args=ARGS
    )[0]
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="no projection into the 24 numbers .* file has 3"):
        build(tmp_path / "plain.pth", CARS, text=str(folder))
    with pytest.raises(CheckpointError, match="open_clip cannot load hub:|open_clip cannot load"):
        build("imagenet", CARS)  # not in any cache here


@pytest.mark.parametrize(
    ("text", "weights", "name", "said"),
    [
        ("ViT-B-33:openai", "auto", NAME, "expected auto, a folder with open_clip_config.json"),
        ("ViT-B-32", "auto", NAME, "open_clip's <name>:<weights>"),
        ("auto", "{tmp}", NAME, "holds no open_clip_config.json"),
        ("auto", "auto", "resnet18", None),
        ("auto", "auto", "dpn48b", "dpn48b has no text tower on the hub"),
    ],
)
def test_towers_are_found_or_the_choices_are_said(
    text: str, weights: str, name: str, said: str | None, tmp_path: Path
) -> None:
    weights = weights.format(tmp=tmp_path)
    if said is None:
        assert find_tower(text, weights, name) == ("hf-hub:timm/resnet18.a1_in1k", None)
        return
    with pytest.raises(ConfigError, match=said):
        find_tower(text, weights, name)


def test_named_towers_are_open_clips() -> None:
    assert find_tower("ViT-B-32:openai", "auto", NAME) == ("ViT-B-32", "openai")
    assert find_tower("auto", "auto", NAME) == (f"hf-hub:timm/{NAME}", None)


def test_mistakes_are_found_before_data_is_read(
    clip: tuple[Path, Any],
    tiny: list[str],
    config_of: Callable[..., DictConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = settings(tiny, clip[0])
    with pytest.raises(ConfigError, match="resnet18 cannot take a head made of class names"):
        check_training(config_of(*(o for o in given if "model." not in o), *_resnet(clip[0])))
    with pytest.raises(ConfigError, match="max_epochs=0 trains nothing"):
        check_training(config_of(*tiny, "trainer.max_epochs=0"))
    monkeypatch.setattr(text_head.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs open_clip: pip install 'carsclf\[text\]'"):
        check_training(config_of(*given))


def _resnet(folder: Path) -> list[str]:
    return ["model.name=resnet18", f"model.weights={folder}", "model.text=auto"]
