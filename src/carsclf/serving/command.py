"""`serve.py`: a trained model over HTTP, or evaluations of what it said."""

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from sqlalchemy.exc import SQLAlchemyError

from carsclf.errors import ConfigError, DataError
from carsclf.options.kinds import checked
from carsclf.options.serving import SERVE
from carsclf.serving.database import Database, file_url
from carsclf.serving.evaluations import import_evaluations
from carsclf.serving.settings import Limits, Settings

MEGA = 1_000_000
SHOWN = 20  # refused rows


def serve(config: DictConfig) -> None:
    """Serves until it is told to end; with `evaluations` it imports them instead."""
    config = checked(config, SERVE)
    folder = Path(str(config.folder)).expanduser().absolute()
    log = str(config.log or file_url(folder / "log.sqlite"))
    if config.evaluations is not None:
        if config.run is not None:
            raise ConfigError("evaluations= imports them and serves nothing: remove it or run=")
        return _import(log, Path(str(config.evaluations)))
    settings = read_settings(config, folder, log)
    own = OmegaConf.to_container(config.serving)
    assert isinstance(own, dict)
    own = {str(key): value for key, value in own.items()}
    if own.pop("name") == "ray":
        from carsclf.serving.ray_serve import serve_on_ray

        return serve_on_ray(settings, config.host, config.port, **own)
    from carsclf.serving.local import serve_here

    return serve_here(settings, config.host, config.port)


def read_settings(config: DictConfig, folder: Path, log: str) -> Settings:
    """Of a checked configuration; raises ConfigError for what contradicts itself."""
    if config.run is None:
        raise ConfigError("run has no value: give it as run=<a run folder, or a link to one>")
    limits = config.limits
    if limits.images > limits.waiting:
        raise ConfigError(
            f"limits.images={limits.images} exceeds limits.waiting={limits.waiting}: a request of "
            "so many pictures could never be taken"
        )
    if limits.megabytes > limits.request_megabytes:
        raise ConfigError(
            f"limits.megabytes={limits.megabytes:g} exceeds limits.request_megabytes="
            f"{limits.request_megabytes:g}: a picture is at most as large as its request"
        )
    return Settings(
        run=str(Path(str(config.run)).expanduser().absolute()),
        folder=folder,
        log=log,
        keep_photos=config.keep_photos,
        max_batch=config.max_batch,
        max_delay=config.max_delay_ms / 1000,
        device=config.device,
        limits=Limits(
            images=limits.images,
            image_bytes=int(limits.megabytes * MEGA),
            request_bytes=int(limits.request_megabytes * MEGA),
            pixels=int(limits.megapixels * MEGA),
            waiting=limits.waiting,
        ),
    )


def _import(log: str, path: Path) -> None:
    database = Database(log)
    if not database.there:
        raise DataError(f"log={database.shown}: there is no such file, so no prediction in it")
    try:
        kept, refused = import_evaluations(database, path)
    except SQLAlchemyError as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise DataError(f"{database.shown} cannot be read or written: {cause[:300]}") from None
    for line in refused[:SHOWN]:
        print(f"refused: {line}", file=sys.stderr)
    if len(refused) > SHOWN:
        print(f"refused: {len(refused) - SHOWN} more", file=sys.stderr)
    if not kept:
        raise DataError(f"evaluations={path}: none of its {len(refused)} rows could be kept")
    print(f"{kept} evaluations kept, {len(refused)} refused: {database.shown}")
