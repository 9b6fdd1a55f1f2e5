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


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with status 1 and one line for a user's mistake.

    Hydra prints several lines and swallows the cause, so it is told to raise; whoever sets
    HYDRA_FULL_ERROR=1 still gets the whole stack trace.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    full = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (CarsclfError, HydraException, OmegaConfBaseException) as error:
        if full:
            raise
        cause = _cause(error)
        print(f"error: {' '.join(str(cause).split())}", file=sys.stderr)
        raise SystemExit(1) from None


def _cause(error: BaseException) -> BaseException:
    """The first of our own errors in the chain (Hydra wraps what `instantiate` meets)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CarsclfError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return error
