"""`stylize.py`: photos of the training split in other styles, a folder for `data.extra`."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.progress import track
from torch.nn.functional import pad

from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.made import Synthetic
from carsclf.data.samples import absolute
from carsclf.data.splits import shuffled
from carsclf.errors import CarsclfError, ConfigError
from carsclf.files import atomic_write
from carsclf.machine.devices import pick_device
from carsclf.models.networks import build_network
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import STYLIZE
from carsclf.records import RANDOM_WEIGHTS
from carsclf.styles.decoder import CROP, encoder_key, read_decoder, train_decoder, write_decoder
from carsclf.styles.network import Decoder, Encoder
from carsclf.styles.pictures import (
    Planned,
    Styles,
    fitted,
    key_of_styles,
    plan,
    read_styles,
    told_styles,
)
from carsclf.styles.sheet import show
from carsclf.styles.transfer import Transfer
from carsclf.terminal import terminal

NONE = {"_target_": "carsclf.data.augment.Augmentation"}
SEEN = 600  # photos that a decoder is trained on
QUALITY = 92  # of the JPEGs


def stylize(config: DictConfig) -> Path:
    """Makes `out`/<class>/*.jpg and synthetic.json; goes on where it was interrupted."""
    config = checked(config, STYLIZE)
    check_asked(config)
    styles = read_styles(config.styles)
    data = read_photos(config)
    out, files = check_out(config, data), data.splits[config.split]
    if config.photos:
        files = shuffled(files, config.seed, "stylize")[: config.photos]
    encoder, origin = make_encoder(config)
    planned = plan(files, data.class_names, styles, per_image=config.per_image, seed=config.seed)
    record = describe(config, data, planned, styles, encoder, origin)
    if not begin(out, record):
        print(f"complete already: {len(planned)} pictures in {out}")
        return out
    device = pick_device(config.device)
    encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder, seen = make_decoder(config, encoder, data, styles, out, device)
    decoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    transfer = Transfer(encoder, decoder, config.strength, device)
    began = time.perf_counter()
    made = make_pictures(transfer, planned, styles, out, config, data)
    show(planned, out, data.class_names, config.size, data.read)
    record = dataclasses.replace(record, trained_on=seen)
    record.write(out / "synthetic.json")
    draft(out).unlink()
    tell(record, styles, out, made, time.perf_counter() - began)
    return out


def check_asked(config: DictConfig) -> None:
    """Refuses options of the groups that mean nothing here."""
    for option in ("text", "compile"):
        if config.model[option]:
            raise ConfigError(f"model.{option}={config.model[option]}: an encoder takes none")
    for option in ("bootstrap", "extra"):
        if config.data.get(option) not in (None, []):
            raise ConfigError(f"data.{option} is of trainings: give it to train.py")


def read_photos(config: DictConfig) -> CarsDataModule:
    """The data of a training of these settings."""
    given: Any = OmegaConf.to_container(config.data, resolve=True)
    settings = {"data": given | {"workers": 0}, "augmentation": NONE}
    data, _ = make_data(OmegaConf.create(settings | {"seed": config.seed}))
    if config.split not in data.splits:
        raise ConfigError(
            f"split={config.split}: protocol {data.protocol} has {', '.join(data.splits)}"
        )
    return data


def check_out(config: DictConfig, data: CarsDataModule) -> Path:
    """The folder to be made; refused where it would be read as photos."""
    out, root = absolute(config.out).resolve(), config.data.root
    if root is not None and out.is_relative_to(absolute(root).resolve()):
        raise ConfigError(
            f"out={config.out} lies in {root}, where its pictures would be taken for photos"
        )
    photos = {sample.path.parent for part in data.splits.values() for sample in part}
    if any(folder.resolve().is_relative_to(out) for folder in photos):
        raise ConfigError(f"out={config.out} holds the photos: name a folder of its own")
    return out


def make_encoder(config: DictConfig) -> tuple[Encoder, str]:
    """The pretrained network's first stages, and where its weights came from."""
    args: Any = OmegaConf.to_container(config.model.args)
    network, weights = build_network(
        config.model.name,
        num_classes=1,
        weights=config.model.weights,
        seed=config.seed,
        model_args=args,
    )
    return Encoder(network, config.stage, config.model.name), weights.origin


def describe(
    config: DictConfig,
    data: CarsDataModule,
    planned: Sequence[Planned],
    styles: Styles,
    encoder: Encoder,
    origin: str,
) -> Synthetic:
    """What `synthetic.json` will say, but for the photos that the decoder was trained on."""
    own = ("strength", "size", "stage", "style_weight", "steps", "photos", "per_image", "styles")
    split_seed = config.data.get("split_seed")
    given = config.decoder
    made_by = {
        **{key: config[key] for key in own},
        "method": "AdaIN (Huang & Belongie 2017)",
        "styles_key": key_of_styles(styles),
        "encoder": config.model.name,
        "weights": origin,
        "encoder_key": encoder_key(encoder),
        "decoder": str(absolute(given)) if given else None,
        "split_seed": config.seed if split_seed is None else split_seed,
        "protocol": data.protocol,
        **data.read,  # crop and margin
    }
    return Synthetic(
        kind="style",
        classes=[name for name in data.class_names if name in {class_of(p, data) for p in planned}],
        seed=config.seed,
        made_by=made_by,
        sources={p.name: p.sample.id for p in planned},
        split=config.split,
        styles={p.name: p.style for p in planned},
    )


def class_of(one: Planned, data: CarsDataModule) -> str:
    return data.class_names[one.sample.target]


def draft(out: Path) -> Path:
    """What `synthetic.json` will say, while pictures are lacking."""
    return out / ".unfinished.json"


def begin(out: Path, record: Synthetic) -> bool:
    """Notes what will be made; False where all of it lies there.

    Raises ConfigError for a folder of other settings, or of other files.
    """
    finished = out / "synthetic.json"
    if not finished.is_file() and not draft(out).is_file():
        if out.is_dir() and any(out.iterdir()):
            raise ConfigError(f"out={out} holds other files: name a new folder")
        record.write(draft(out))
        return True
    known = Synthetic.read(finished if finished.is_file() else draft(out))
    if dataclasses.replace(known, trained_on=None) != record:
        ours, theirs = ({"seed": r.seed, "split": r.split, **r.made_by} for r in (record, known))
        other = [key for key in ours if ours[key] != theirs.get(key)] or ["the photos"]
        raise ConfigError(
            f"out={out} was made with another {' and '.join(other)}: name a new folder, or give "
            "the same"
        )
    return not finished.is_file()


def make_decoder(
    config: DictConfig,
    encoder: Encoder,
    data: CarsDataModule,
    styles: Styles,
    out: Path,
    device: torch.device,
) -> tuple[Decoder, list[str]]:
    """The decoder that is named, the one that lies there, or a new one; and what it has seen."""
    kept = out / "decoder.safetensors"
    if config.decoder or kept.is_file():
        return read_decoder(absolute(config.decoder) if config.decoder else kept, encoder)
    chosen = shuffled(data.splits["train"], config.seed, "decoder")[:SEEN]
    photos = [enlarged(fitted(sample, config.size, **data.read)) for sample in chosen]
    decoder = train_decoder(
        encoder,
        photos,
        [picture for pictures in styles.values() for picture in pictures],
        steps=config.steps,
        style_weight=config.style_weight,
        seed=config.seed,
        draft=out / ".decoder.ckpt",
        device=device,
    )
    seen = sorted({sample.id for sample in chosen})
    write_decoder(kept, decoder, encoder, seen)
    (out / ".decoder.ckpt").unlink(missing_ok=True)
    return read_decoder(kept, encoder)  # as a run that goes on does


def enlarged(photo: torch.Tensor) -> torch.Tensor:
    """A photo that a crop of the decoder's training fits into; edges repeated where it is small."""
    height, width = photo.shape[1:]
    more = (0, max(0, CROP - width), 0, max(0, CROP - height))
    return pad(photo[None].float(), more, mode="replicate")[0].byte() if any(more) else photo


def make_pictures(
    transfer: Transfer,
    planned: Sequence[Planned],
    styles: Styles,
    out: Path,
    config: DictConfig,
    data: CarsDataModule,
) -> int:
    """Makes those that are not there, and says how many."""
    moments = {name: [transfer.moments(p) for p in pictures] for name, pictures in styles.items()}
    lacking = [one for one in planned if not (out / one.name).is_file()]
    bar = terminal(stderr=True)
    watched = track(lacking, "pictures", console=bar, transient=True, disable=not bar.is_terminal)
    try:
        for one in watched:
            photo = fitted(one.sample, config.size, **data.read)
            picture = Image.fromarray(transfer(photo, moments[one.style][one.number]))
            with atomic_write(out / one.name) as temporary:
                picture.save(temporary, "JPEG", quality=QUALITY)
    except KeyboardInterrupt:
        raise CarsclfError(
            f"interrupted: {out} is not complete; the same command goes on"
        ) from None
    return len(lacking)


def tell(record: Synthetic, styles: Styles, out: Path, made: int, seconds: float) -> None:
    """The last lines of the command."""
    rate = f", {made / seconds:.1f} a second" if made else ""
    print(f"{len(record.sources or ())} pictures of {len(record.classes)} classes{rate}")
    print(f"styles: {told_styles(styles)}; encoder: {record.made_by['encoder']}, stage "
          f"{record.made_by['stage']}, weights: {record.made_by['weights']}")  # fmt: skip
    if record.made_by["weights"] == "random":
        print(RANDOM_WEIGHTS)
    print(f"folder: {out} (styles.png shows some)")
    if record.split == "train":
        say_next(f"python train.py {argument('data.extra', [str(out)])}")
