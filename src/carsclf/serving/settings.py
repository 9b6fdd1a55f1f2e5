"""What a service is told: plain values, which travel to replicas on other machines."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for."""

    images: int  # of one request
    image_bytes: int
    request_bytes: int
    pixels: int  # of one picture
    waiting: int  # pictures between their arrival and their answer; more are told to come again
    seconds: float = 60.0  # for a request's body to arrive, and for the network's answer

    @property
    def waiting_bytes(self) -> int:
        """Of bodies in memory at once: four of the largest, or many of the usual size."""
        return 4 * self.request_bytes


@dataclass(frozen=True)
class Settings:
    """Of one service."""

    run: str  # a run folder, or a link to one
    folder: Path  # below which the spool, the photos and, by default, the database lie
    log: str  # SQLAlchemy's URL of the database
    keep_photos: bool
    max_batch: int
    max_delay: float  # seconds
    device: str
    limits: Limits

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def photos(self) -> Path | None:
        return self.folder / "photos" if self.keep_photos else None
