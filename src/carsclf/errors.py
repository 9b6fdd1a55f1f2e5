"""What a user can get wrong, and how it is told: one line, what was expected, what to type."""

import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class CarsclfError(Exception):
    """Base of every mistake a user can mend; shown as one line, never as a stack trace."""


class ConfigError(CarsclfError):
    """An option, or a combination of options, that cannot be run."""


class DataError(CarsclfError):
    """Pictures, labels or folders that are missing, broken or contradict each other."""


class CheckpointError(CarsclfError):
    """Weights or checkpoints that cannot be read, written or do not fit."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint naming the known names closest to `name`, to be appended to an error."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"choose from {', '.join(known[:20])}" + (", ..." if len(known) > 20 else "")


_open: list[bool] = []  # one entry per `one_line_errors` block we are in: did something fail?


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Tells a user's mistake in one line; the outermost block then ends with status 1.

    Around `main()`, because Hydra prints several lines for a mistake in an option; and inside it
    around the work, because Hydra prints a line of its own for whatever escapes a job, and because
    a failed job of a sweep must not stop the others. HYDRA_FULL_ERROR=1 shows the stack trace.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    before = os.environ.get("HYDRA_FULL_ERROR", "0")
    if not _open:
        # a further process of a distributed run inherits both from the first
        os.environ.setdefault("CARSCLF_FULL_ERROR", before)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra exits by itself
    _open.append(False)
    try:
        yield
    except (CarsclfError, HydraException, OmegaConfBaseException) as error:
        if os.environ["CARSCLF_FULL_ERROR"] == "1":
            raise
        rank = os.environ.get("LOCAL_RANK", "0")
        who = "error" if rank == "0" else f"error in process {rank}"
        print(f"{who}: {_message(error)}", file=sys.stderr)
        _open[0] = True
    finally:
        failed = _open.pop()  # the outermost entry collects what its inner blocks met
        if not _open:
            os.environ["HYDRA_FULL_ERROR"] = os.environ.pop("CARSCLF_FULL_ERROR", before)
    if failed and not _open:
        raise SystemExit(1)


def _message(error: BaseException) -> str:
    """One line: our own error where the chain has one, and near names for a misspelt key."""
    chain, seen = [], error
    while seen is not None:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    own = [link for link in chain if isinstance(link, CarsclfError)]
    text = " ".join(str(own[0] if own else error).split())
    for link in chain:
        key, parent = getattr(link, "key", None), getattr(link, "parent_node", None)
        keys = getattr(parent, "keys", None)
        if key is not None and keys is not None and not own:
            return f"{text} (or {nearest(str(key), map(str, keys()))})"
    return text
