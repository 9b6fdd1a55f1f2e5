"""Checkpoints that a kill or a full disk leaves whole."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from carsclf.errors import CheckpointError
from carsclf.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a kill or a full disk leaves the old file whole.

    Lightning goes through the system's temporary folder and a move, which is not atomic across
    file systems.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        buffer = io.BytesIO()  # torch hides a full disk behind an error of its own
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path)) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours; raises CheckpointError for a missing or damaged one."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): start the run again"
        ) from None
