"""timm networks with a head of our width, and what can be asked of any of them."""

import warnings
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn

from carsclf.errors import ConfigError, nearest
from carsclf.models.checkpoint_files import StateDict
from carsclf.models.fitting import load_fitting
from carsclf.models.heads import in_heads
from carsclf.models.known_rows import KnownRows, Wanted, rows_by_name
from carsclf.models.pooling import DEFAULT, pool_of, pooled
from carsclf.models.provenance import NO_WEIGHTS, Provenance
from carsclf.models.strided import thin_first
from carsclf.models.weights import Found, find_weights

NOT_OURS = {  # arguments of timm.create_model that something else decides here
    "num_classes": "the classes come from the data",
    "pretrained": "model.weights says where weights come from",
    "checkpoint_path": "give the file as model.weights=<path>",
    "pretrained_cfg": "model.name=<name>.<tag> chooses among timm's weights",
    "pretrained_cfg_overlay": "give weights as model.weights=<path>",
    "cache_dir": "HF_HOME=<folder> in the environment says where weights are kept",
    "features_only": "a classifier is trained, and this leaves it out",
}
Tried = str | None  # why a picture cannot pass, or None


@dataclass(frozen=True)
class Weights:
    """The weights a network began with: where they came from, and what of them was not taken."""

    origin: str  # "none" or "random" where there were none
    notes: tuple[str, ...] = ()
    provenance: Provenance = NO_WEIGHTS
    rows: KnownRows | None = None  # of an earlier run's head, where they were asked for

    def __str__(self) -> str:
        return "; ".join([f"weights: {self.origin}", *self.notes])


def build_network(
    name: str,
    *,
    num_classes: int,
    weights: str,
    seed: int,
    image_size: int | None = None,
    pool: str = DEFAULT,
    model_args: dict[str, Any] | None = None,
    wanted: Wanted | None = None,
) -> tuple[nn.Module, Weights]:
    """A timm network whose head has `num_classes` outputs, and where its weights came from.

    image_size: pixels of the square pictures that enter; checked, and where the network's size is
    fixed, that is the one it is made for. pool: see `pooled`. model_args: more for
    timm.create_model. A head of another width, or of a run with other classes than `wanted`, is
    popped and re-added at random (drawn from `seed`), but for the rows that are kept by name.
    Raises ConfigError for an unknown name (offering the nearest) or a network that cannot take such
    pictures, and CheckpointError for weights that do not fit.
    """
    torch.manual_seed(seed)
    args = made_with(name, image_size, model_args or {})
    network = create(name, image_size=image_size, pool=pool, **(model_args or {}))
    found = find_weights(weights, network, name)
    torch.manual_seed(seed)  # the head does not depend on where the weights were found
    network.reset_classifier(num_classes)  # type: ignore[operator]
    notes = found.notes
    rows = None
    if found.state is not None:
        heads = head_names(network)
        state, rows, said = _with_head(found, network, heads, wanted)
        more = load_fitting(network, state, heads, origin=found.origin, name=name, args=args)
        notes += (*said, *more)
    if image_size is not None:
        check_pictures(network, name, image_size, num_classes, model_args or {})
    return network, Weights(found.origin, notes, found.provenance, rows)


def _with_head(
    found: Found, network: nn.Module, heads: tuple[str, ...], wanted: Wanted | None
) -> tuple[StateDict, KnownRows | None, list[str]]:
    """The state dict with a head for the wanted classes, or with none; and what is said of it."""
    state: StateDict = dict(found.state or {})
    if wanted is None or not found.classes:
        return state, None, []
    if wanted.keep:
        own = network.state_dict()
        state, rows = rows_by_name(state, own, heads, found.classes, wanted)
        return state, rows, [f"head: {rows}"]
    if [*found.classes] == [*wanted.names] or len(found.classes) != len(wanted.names):
        return state, None, []  # as it was; or of another width, as is found when it is loaded
    said = "its classes are others, or in another order (model.head=keep goes by their names)"
    return {k: v for k, v in state.items() if not in_heads(k, heads)}, None, [said]


def create(
    name: str,
    *,
    num_classes: int | None = None,
    image_size: int | None = None,
    pool: str = DEFAULT,
    **model_args: Any,
) -> nn.Module:
    """A timm network with random weights; see `build_network` for the arguments."""
    known_name(name)
    args = made_with(name, image_size, model_args)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's deprecations of old model names
            network = timm.create_model(name, pretrained=False, **args)
    except Exception as error:  # constructors fail in ways of their own
        given = f" with {', '.join(f'{k}={v}' for k, v in args.items())}" if args else ""
        raise ConfigError(f"model.name={name} cannot be made{given}: {_plain(error)}") from None
    if not _classifiers(network):
        raise ConfigError(f"model.name={name} has no classifier to train: {_alike(name)}")
    network = thin_first(pooled(network, pool, name=name, img_size=args.get("img_size")))
    if num_classes is not None:  # not on making: some then have a second head to be distilled into
        network.reset_classifier(num_classes)  # type: ignore[operator]
    return network


def known_name(name: str) -> None:
    """Raises ConfigError for what is no timm name, with the nearest."""
    base, _, tag = name.partition(".")
    if ":" in name or "/" in name:
        raise ConfigError(
            f"model.name={name}: expected timm's name of the network, such as "
            f"{name.rpartition('/')[2] or 'resnet18'}; weights of your own are named by "
            "model.weights=<file or folder>"
        )
    if not timm.is_model(base):
        raise ConfigError(
            f"model.name={name} is no timm model: {nearest(base.lower(), timm.list_models())}"
        )
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        what = nearest(tag, tags) if tags else f"it has none: model.name={base}"
        raise ConfigError(f"model.name={name}: {base} has no weights tagged {tag}: {what}")


def made_with(name: str, image_size: int | None, model_args: dict[str, Any]) -> dict[str, Any]:
    """The arguments a network is made with: a fixed size is that of the pictures.

    Raises ConfigError for arguments that something else decides.
    """
    for key, reason in NOT_OURS.items():
        if key in model_args:
            raise ConfigError(f"model.args.{key} cannot be given: {reason}")
    if model_args.get("in_chans") not in (None, 3):
        raise ConfigError(
            f"model.args.in_chans={model_args['in_chans']}: pictures enter with 3 channels, grey "
            "ones too: leave it out"
        )
    args = {key: value for key, value in model_args.items() if value is not None}
    config = timm.get_pretrained_cfg(name)
    if image_size is not None and config is not None and config.fixed_input_size:
        args.setdefault("img_size", (image_size, image_size))
    return args


def check_pictures(
    network: nn.Module, name: str, size: int, num_classes: int, model_args: dict[str, Any]
) -> None:
    """Raises ConfigError, with the nearest size that works, where pictures do not fit a network."""
    reason = passes(network, size, num_classes)
    if reason is None:
        return
    own: int = network.pretrained_cfg["input_size"][-1]  # type: ignore[index]
    near = near_size(network, name, size, num_classes, model_args)
    what = f"data.image_size={near} works" if near else "leave model.args out"
    if near not in (own, None):
        what += f" ({own} is what it was made for)"
    raise ConfigError(f"model.name={name} cannot take data.image_size={size}: {what} ({reason})")


def near_size(
    network: nn.Module, name: str, size: int, num_classes: int, model_args: dict[str, Any]
) -> int | None:
    """The size nearest to `size` whose pictures pass, else the network's own; None: not even it."""

    def works(other: int) -> bool:
        try:
            made = create(
                name, num_classes=num_classes, image_size=other, pool=pool_of(network), **model_args
            )
        except ConfigError:
            return False
        return passes(made, other, num_classes) is None

    own: int = network.pretrained_cfg["input_size"][-1]  # type: ignore[index]
    step = _patch(network) or 32
    nearby = [step * (size // step + k) for k in (0, 1, -1, 2, -2, 3)]
    nearest = sorted((s for s in nearby if s > 0), key=lambda s: abs(s - size))
    return next((s for s in [*nearest, own] if works(s)), None)


def _patch(network: nn.Module) -> int | None:
    """Pixels of the patches that a network of fixed size cuts pictures into, side by side."""
    place = getattr(network, "patch_embed", None)
    proj, fixed = getattr(place, "proj", None), network.pretrained_cfg["fixed_input_size"]  # type: ignore[index]
    apart = isinstance(proj, nn.Conv2d) and proj.kernel_size == proj.stride
    padded = getattr(place, "dynamic_img_pad", False)
    return proj.stride[0] if fixed and apart and not padded else None  # type: ignore[union-attr]


def passes(network: nn.Module, size: int, num_classes: int) -> Tried:
    """None where a whole picture comes out as (1, num_classes) logits, else what happens."""
    if (patch := _patch(network)) and (left := size % patch):
        return f"{left} of {size} pixels would be left out: it cuts patches of {patch}"
    training = network.training
    try:
        with torch.no_grad():
            out = network.eval()(torch.zeros(1, 3, size, size))
    except Exception as error:  # each network has its own way to stumble
        return _plain(error)
    finally:
        network.train(training)
    shape = tuple(out.shape) if torch.is_tensor(out) else type(out).__name__
    return None if shape == (1, num_classes) else f"logits of shape {shape} came out"


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Module names of the classifiers, e.g. `fc` or `head.fc`: what `reset_classifier` redraws.

    Most networks have one; distilled ones have two. timm's `get_classifier()` says, but for a few
    networks gives the pooling with it: then the module that its configuration names, where that
    holds all the parameters.
    """
    named = _configured(network)
    return tuple(_linear_part(network, module, named) for module in _classifiers(network))


def _linear_part(network: nn.Module, classifier: nn.Module, named: list[str]) -> str:
    name = next(name for name, module in network.named_modules() if module is classifier)
    inside = [n for n in named if n.startswith(f"{name}.")]
    if len(inside) == 1:
        leaf = network.get_submodule(inside[0])
        if len([*leaf.parameters()]) == len([*classifier.parameters()]):
            return inside[0]
    return name


def split_parameters(
    network: nn.Module, heads: tuple[str, ...]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(backbone, head) parameters that train."""
    parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            parts[in_heads(name, heads)].append(parameter)
    return parts


def normalisation(network: nn.Module) -> tuple[list[float], list[float]]:
    """Mean and standard deviation (of pixels in 0..1) that the network was pretrained with."""
    config: Any = network.pretrained_cfg
    return list(config["mean"]), list(config["std"])


def _classifiers(network: nn.Module) -> list[nn.Module]:
    """The modules that give logits, each with all that belongs to it."""
    if not hasattr(network, "get_classifier"):
        return []
    given: Any = network.get_classifier()  # type: ignore[operator]
    if not isinstance(given, nn.Module) or isinstance(given, nn.ModuleList):
        return list(given)
    inside = set(given.modules())
    others = [network.get_submodule(name) for name in _configured(network)]
    return [given, *(module for module in others if module not in inside)]


def _configured(network: nn.Module) -> list[str]:
    """The classifiers that timm's configuration names, as far as this network has them."""
    config: Any = network.pretrained_cfg
    names = config.get("classifier") or ()
    known = {name for name, _ in network.named_modules()}
    return [name for name in ([names] if isinstance(names, str) else names) if name in known]


def _alike(name: str) -> str:
    """Networks of the same family that have one."""
    base = name.split(".")[0]
    module = timm.models.model_entrypoint(base).__module__.rpartition(".")[2]
    family = [n for n in timm.list_models(module=module) if _classifies(n)]
    if (plain := base.removesuffix("_enc")) in family:
        return f"model.name={plain} has one"
    return nearest(base, family or ["resnet18", "convnext_tiny", "vit_small_patch16_224"])


def _classifies(name: str) -> bool:
    config = timm.get_pretrained_cfg(name)
    return config is not None and bool(config.classifier)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
