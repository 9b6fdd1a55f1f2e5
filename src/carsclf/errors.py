"""What a user can get wrong, and how it is told: one line, what was expected, what to type."""

import difflib
import io
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
    close = [one for one in known if one.casefold() == name.casefold()]
    close = close or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"choose from {', '.join(known[:20])}" + (", ..." if len(known) > 20 else "")


def mistakes() -> tuple[type[Exception], ...]:
    """What a user can mend, whoever found it: this project, Hydra or OmegaConf."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return CarsclfError, HydraException, OmegaConfBaseException


_open: list[bool] = []  # one entry per `one_line_errors` block we are in: did something fail?


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Tells a user's mistake in one line; the outermost block then ends with status 1.

    Around `main()`, because Hydra prints several lines for a mistake in an option; and inside it
    around the work, because Hydra prints a line of its own for whatever escapes a job, and because
    a failed job of a sweep must not stop the others. HYDRA_FULL_ERROR=1 shows the stack trace.
    """
    before = os.environ.get("HYDRA_FULL_ERROR", "0")
    if not _open:
        # a further process of a distributed run inherits both from the first
        os.environ.setdefault("CARSCLF_FULL_ERROR", before)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra exits by itself
        _print_anything()
    _open.append(False)
    try:
        yield
    except Exception as error:
        if os.environ["CARSCLF_FULL_ERROR"] == "1" or not _mendable(error):
            raise
        rank = os.environ.get("LOCAL_RANK", "0")
        who = "error" if rank == "0" else f"error in process {rank}"
        print(f"{who}: {one_line(error)}", file=sys.stderr)
        _open[0] = True
    finally:
        failed = _open.pop()  # the outermost entry collects what its inner blocks met
        if not _open:
            os.environ["HYDRA_FULL_ERROR"] = os.environ.pop("CARSCLF_FULL_ERROR", before)
    if failed and not _open:
        raise SystemExit(1)


def _mendable(error: Exception) -> bool:
    """A mistake, or a file that cannot be read or written; Hydra raises plain errors too while it
    composes."""
    from yaml import MarkedYAMLError

    plain = isinstance(error, ValueError | TypeError)
    file = isinstance(error, OSError) and error.filename is not None
    own = isinstance(error, (*mistakes(), MarkedYAMLError)) or out_of_memory(error)
    return own or file or (plain and raised_in(error, "hydra._internal."))


def out_of_memory(error: BaseException) -> bool:
    """Whether a card's memory was too small; known by name, as torch is slow to import."""
    return type(error).__name__ == "OutOfMemoryError"


def raised_in(error: BaseException, *packages: str) -> bool:
    """Whether a module of these packages raised the error, rather than code that they called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(packages)


def _print_anything() -> None:
    """Names with letters that the terminal does not have are told all the same."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """One line: our own error where the chain has one, and near names for a misspelt key."""
    chain, seen = [], error
    while seen is not None:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    own = [link for link in chain if isinstance(link, CarsclfError)]
    text = " ".join(str(own[0] if own else error).split())
    if not own and out_of_memory(error):
        text = (
            f"{'. '.join(text.split('. ')[:3])}: take a smaller data.batch_size, with "
            "+trainer.accumulate_grad_batches= for as many pictures a step, or a smaller "
            "data.image_size, or trainer.precision=bf16-mixed; of trials on one card fewer at "
            "once, by a larger resources.gpu"
        )
    if not own and isinstance(error, OSError) and error.filename is not None:
        text = f"{os.fspath(error.filename)}: {error.strerror}"
    for link in chain:
        key, parent = getattr(link, "key", None), getattr(link, "parent_node", None)
        keys = getattr(parent, "keys", None)
        if key is None or keys is None or own:
            continue
        known = [str(name) for name in keys()]
        hint = nearest(str(key), [name for name in known if not name.startswith("_")])
        if "_target_" in known and hint.startswith("choose"):  # one option of a group
            group, option = str(link.full_key).rpartition(".")[0], str(parent["_target_"])  # type: ignore[attr-defined, index]
            chosen = option.rpartition(".")[2]
            return f"{text} ({group}={chosen} has no {key}, another {group}= may; here {hint})"
        return f"{text} (or {hint})"
    return text
