"""What runs in a worker process: one training after another, an epoch at a time."""

import gc
import os
import queue
import threading
import traceback
from pathlib import Path
from typing import Any

import ray
import torch
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import CheckpointError, mistakes, one_line
from carsclf.machine.memory import give_back_freed_memory
from carsclf.records import RunFolder
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.checks import check_training
from carsclf.training.run import fit, prepare
from carsclf.tuning.workers.protocol import Epoch, Failure, Job


class Worker:
    """An actor that trains one trial at a time, in a thread that waits for a word after each epoch.

    The thread holds the whole training (loaders, optimizer, loop) between two epochs, so going on
    costs nothing; the actor stays up from trial to trial, so imports are paid once.
    """

    def __init__(self, threads: int, directory: str) -> None:
        torch.set_num_threads(threads)
        if Path(directory).is_dir():  # so that relative paths mean what they mean to the driver
            os.chdir(directory)
        self._thread: threading.Thread | None = None
        gc.freeze()  # what was imported is not looked through after each trial, which took 0.4 s

    def ready(self) -> str:
        """The node it runs on."""
        return ray.get_runtime_context().get_node_id()

    def prepare(self, config: dict[str, Any]) -> list[str] | Failure:
        """Does what trials share; returns what it settled, or what is wrong."""
        try:
            made = _config(config)
            check_training(made)
            return prepare(made)
        except mistakes() as error:
            return Failure(one_line(error), final=True)
        finally:
            _release()

    def advance(self, job: Job | None) -> Epoch | Failure:
        """The next finished epoch of a new job, or of the one it has."""
        if job is None:
            self._orders.put(True)
        else:
            self.halt()
            self._orders: queue.Queue[bool] = queue.Queue()
            self._results: queue.Queue[Epoch | Failure] = queue.Queue()
            self._thread = threading.Thread(target=self._train, args=(job,), daemon=True)
            self._thread.start()
        return self._results.get()

    def halt(self) -> None:
        """Ends the job it has after the epoch it reported; returns when its files are written."""
        if self._thread is not None:
            self._orders.put(False)
            self._thread.join()
            self._thread = None
            _release()

    def _train(self, job: Job) -> None:
        folder = Path(job.folder)
        try:
            for epoch in _unreported(RunFolder(folder), job.epoch):
                if not self._report(epoch):
                    return
            fit(_config(job.config), folder, resume=True, on_epoch=self._epoch)
            self._results.put(Failure("the training ended before the study did", final=True))
        except mistakes() as error:
            stop = isinstance(error, CheckpointError)  # about files, not about this trial's values
            self._results.put(Failure(one_line(error), final=True, stop=stop))
        except BaseException as error:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(traceback.format_exc())
            said = one_line(error)[:500]
            self._results.put(Failure(f"{type(error).__name__}: {said}", final=False))

    def _epoch(self, epoch: int, metrics: dict[str, float], seconds: float, _: Path) -> bool:
        return self._report(Epoch(epoch, metrics, seconds))

    def _report(self, epoch: Epoch) -> bool:
        self._results.put(epoch)
        return self._orders.get()


def _release() -> None:
    """Gives back what a training held: without it a worker grew by 0.4 GB with each trial.

    Lightning's objects hold each other, and what they free is kept for the next batch.
    """
    gc.collect()
    give_back_freed_memory()
    if torch.cuda.is_initialized():  # trials on the same card may need it
        torch.cuda.empty_cache()


def _unreported(files: RunFolder, epoch: int) -> list[Epoch]:
    """Epochs a checkpoint holds beyond those the study knows of: a kill came in between.

    Their metrics are read from the checkpoint itself, which is written in one piece.
    """
    if not files.last.is_file():
        if epoch:
            raise CheckpointError(
                f"{files.last} is missing, so epoch {epoch} cannot be continued: the study folder "
                "must lie on storage that all machines share"
            )
        return []
    rows: list[dict[str, float]] = []
    for state in read_checkpoint(files.last)["callbacks"].values():
        rows = state.get("rows", rows) if isinstance(state, dict) else rows
    if len(rows) < epoch:
        raise CheckpointError(f"{files.last} holds {len(rows)} of {epoch} epochs: was it replaced?")
    return [
        Epoch(
            int(row["epoch"]),
            {key: value for key, value in row.items() if key not in ("epoch", "seconds")},
            row["seconds"],
        )
        for row in rows[epoch:]
    ]


def _config(plain: dict[str, Any]) -> DictConfig:
    config = OmegaConf.create(plain)
    OmegaConf.set_struct(config, True)
    return config
