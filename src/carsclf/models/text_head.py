"""A head made of class names: what CLIP's text tower says of them, on CLIP's picture embedding.

As it is, it classifies without any training (zero-shot; Radford et al. 2021); trained further, it
is a start that knows the names.
"""

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from carsclf.errors import CheckpointError, ConfigError, nearest
from carsclf.models.checkpoint_files import short
from carsclf.models.embedding import EXAMPLE, add_embedding
from carsclf.models.fitting import AT_RANDOM
from carsclf.models.networks import Weights, build_network, head_names

TEMPLATES = (
    *("a photo of a {}.", "a photo of the {}.", "a photo of my {}.", "i love my {}!"),
    *("a photo of my dirty {}.", "a photo of my clean {}."),
    *("a photo of my new {}.", "a photo of my old {}."),
)
"""CLIP's own for Stanford Cars: github.com/openai/CLIP, data/prompts.md."""
CONFIG = "open_clip_config.json"  # in a folder, or a hub's repository, as open_clip writes them


def build_text_network(
    name: str, class_names: Sequence[str], *, text: str, weights: str, **others: Any
) -> tuple[nn.Module, Weights]:
    """`build_network` with a head made of the class names; text: see conf/model/common.yaml.

    Its logits are the cosines of picture and class times CLIP's scale. Raises ConfigError for
    names too long for the text tower, and CheckpointError for weights that are not CLIP's.
    """
    check_text(weights)
    tower, pretrained = find_tower(text, weights, name)
    rows = class_rows(*load_tower(tower, pretrained), class_names)
    network, found = build_network(name, num_classes=rows.shape[1], weights=weights, **others)
    missing = [note for note in found.notes if AT_RANDOM in note]
    if found.origin == "random" or missing:
        raise CheckpointError(
            f"model.text: the weights of {name} ({found.origin}) have no projection into the "
            f"{rows.shape[1]} numbers of the text tower {tower}{_because(missing)}: take both "
            f"from one CLIP, such as model.name={EXAMPLE} model.text=auto"
        )
    _set_head(network, rows, name)
    note = f"head made of {len(rows)} class names in {len(TEMPLATES)} sentences each by {tower}"
    return network, dataclasses.replace(found, notes=(*found.notes, note))


def check_text(weights: str) -> None:
    """Refuses what `model.text` cannot do without."""
    if importlib.util.find_spec("open_clip") is None:
        raise ConfigError("model.text needs open_clip: pip install 'carsclf[text]'")
    if weights == "none":
        raise ConfigError("model.text needs weights of a CLIP network: leave out model.weights")


def find_tower(text: str, weights: str, name: str) -> tuple[str, str | None]:
    """(name, pretrained) as open_clip takes them, of the text tower that `model.text` means."""
    import open_clip

    if text != "auto":
        known, _, pretrained = text.partition(":")
        if pretrained and known in open_clip.list_models():
            return known, pretrained
        if (folder := Path(text).expanduser()).is_dir():
            return _folder(folder, f"model.text={text}")
        raise ConfigError(
            f"model.text={text}: expected auto, a folder with {CONFIG}, or open_clip's "
            f"<name>:<weights>; {nearest(known, open_clip.list_models())}"
        )
    if weights not in ("auto", "imagenet"):
        path = Path(weights).expanduser()
        return _folder(path if path.is_dir() else path.parent, "model.text=auto")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise ConfigError(
            f"model.text=auto: {name} has no text tower on the hub: take a CLIP network, such as "
            f"model.name={EXAMPLE}, or give model.text=<folder with {CONFIG}>"
        )
    return f"hf-hub:{config.hf_hub_id}", None


def load_tower(tower: str, pretrained: str | None) -> tuple[Any, Any]:
    """open_clip's model in evaluation mode, and its tokenizer; CheckpointError with what failed."""
    import open_clip

    try:
        with torch.random.fork_rng(devices=[]):  # it is drawn before it is loaded
            model = open_clip.create_model(tower, pretrained, require_pretrained=True)
        return model.eval(), open_clip.get_tokenizer(tower)
    except Exception as error:  # of the hub, of files, of configurations
        raise CheckpointError(
            f"model.text: open_clip cannot load {tower} ({short(error)}): go online once, or give "
            f"model.text=<folder with {CONFIG} and its weights>, or model.text=<open_clip's name>:"
            f"<weights>; with auto it comes with few networks, such as model.name={EXAMPLE}"
        ) from None


@torch.no_grad()
def class_rows(model: Any, tokenizer: Any, class_names: Sequence[str]) -> torch.Tensor:
    """(classes, embedding): each class's mean over the templates, of the length of CLIP's scale."""
    rows = []
    for name in class_names:
        said = model.encode_text(_tokens(tokenizer, name), normalize=True)
        rows.append(nn.functional.normalize(said.mean(0), dim=0))
    return torch.stack(rows).float() * model.logit_scale.exp()


def _tokens(tokenizer: Any, name: str) -> torch.Tensor:
    """(templates, context): the sentences about a class; open_clip would cut longer ones short."""
    sentences = [template.format(name) for template in TEMPLATES]
    tokens = tokenizer(sentences)
    context = tokens.shape[1]
    if not torch.equal(tokens, tokenizer(sentences, 2 * context)[:, :context]):
        raise ConfigError(
            f"model.text: the class name {name!r} is too long for the text tower, which reads "
            f"{context} tokens a sentence: shorten it in the data"
        )
    return tokens


def _set_head(network: nn.Module, rows: torch.Tensor, name: str) -> None:
    """Moves the projection before the head, and puts the classes' rows in its place."""
    projection: Any = network.get_submodule(head_names(network)[0])
    classes, width = rows.shape
    network.reset_classifier(classes)  # type: ignore[operator]
    embedding, classifier = add_embedding(network, width, name)
    embedding.load_state_dict(projection.state_dict())
    classifier.load_state_dict({"weight": rows, "bias": torch.zeros(classes)})


def _folder(folder: Path, told: str) -> tuple[str, None]:
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"{told}: {folder} holds no {CONFIG}: give model.text=<folder that open_clip wrote>, "
            "or open_clip's <name>:<weights>"
        )
    return f"local-dir:{folder}", None


def _because(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""
