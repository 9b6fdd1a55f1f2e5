"""`decide.py`: decisions on photos, applied to a library or taken back."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from carsclf.curation.decisions import (
    QUARANTINE,
    Decision,
    classes_in,
    read_decisions,
    why_no_folder,
)
from carsclf.curation.moves import LOG, Log, free_place
from carsclf.curation.page.needs import check_page
from carsclf.curation.sorting import sort_photos
from carsclf.data.samples import absolute, list_some, shown
from carsclf.errors import CheckpointError, ConfigError, DataError
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import DECIDE


@dataclass
class Applied:
    """What came of decisions; a line each."""

    moved: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)  # moved so by an earlier call
    duplicates: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def decide(config: DictConfig) -> Applied:
    """Applies `decisions`, or takes moves back with `undo`; prints what was done and what not.

    With `page` it moves nothing and opens the list in the browser, to be decided on.
    """
    config = checked(config, DECIDE)
    if config.page and config.decisions is None:
        raise ConfigError("page=true needs decisions=<a list of predict.py filter=...>")
    if (config.decisions is None) == (config.undo is None):
        raise ConfigError("give decisions=<a CSV>, or undo=last, undo=all or undo=<number>")
    library = absolute(config.library)
    if not library.is_dir():
        raise DataError(f"library={library} is no folder: make it first, a folder per class in it")
    quarantine = absolute(config.quarantine or f"{library}.quarantine")
    if quarantine.is_relative_to(library):
        raise ConfigError(f"quarantine={quarantine} lies in the library, where it would be a class")
    if config.page:
        check_page()
        sort_photos(config, absolute(config.decisions), photos_of(config), library)
        return Applied()
    log, found = Log(library / LOG), Applied()
    with log.opened():
        if config.undo is not None:
            take_back(log, config.undo, found)
        else:
            apply(config, library, quarantine, log, found)
    _tell(found, "taken back" if config.undo is not None else "moved")
    if (found.refused or found.conflicts) and not (found.moved or found.before):
        raise SystemExit(1)
    if found.moved and config.undo is None:
        say_next(f"python decide.py {argument('library', str(library))} undo=last")
    return found


def photos_of(config: DictConfig) -> Path:
    """The folder that the decisions are of."""
    if config.photos is None:
        raise ConfigError("photos has no value: give the folder the decisions are of as photos=...")
    photos = absolute(config.photos)
    if not photos.is_dir():
        raise DataError(f"photos={photos} is no folder")
    return photos


def apply(config: DictConfig, library: Path, quarantine: Path, log: Log, found: Applied) -> None:
    """Every decision that can be; the others are listed in `found`."""
    photos = photos_of(config)
    classes = {folder.name for folder in classes_in(library)}
    new = [str(name) for name in config.new or []]
    if wrong := [why for name in new if (why := why_no_folder(name))]:
        raise ConfigError(f"new: {wrong[0]}")
    reading = read_decisions(absolute(config.decisions), photos, classes, new)
    found.refused += reading.refused
    found.conflicts += reading.conflicts
    if reading.undecided or reading.skipped:
        print(f"{reading.undecided} not decided yet, {reading.skipped} skipped")
    for one in reading.decisions:
        folder = quarantine if one.decision == QUARANTINE else library / one.decision
        if folder.is_symlink():
            found.refused.append(f"{shown(str(one.photo))}: {folder} is a link")
            continue
        try:
            _apply_one(one, folder, log, found)
        except (CheckpointError, OSError) as error:  # of this photo; the others go on
            log.settle()
            found.refused.append(str(error))


def _apply_one(one: Decision, folder: Path, log: Log, found: Applied) -> None:
    name = shown(str(one.photo))
    if not one.photo.exists():
        earlier = log.of(one.photo)
        if earlier is None:
            found.refused.append(f"{name}: not there")
        elif earlier.told.get("decision") == one.decision:
            found.before.append(name)
        else:
            who = earlier.told.get("who") or "unnamed"
            found.conflicts.append(
                f"{name}: {one.decision} ({one.notes['who'] or 'unnamed'}), but it was moved to "
                f"{earlier.told.get('decision')} ({who}) before: undo={earlier.number} first"
            )
        return
    if (earlier := log.of(one.photo)) is not None and not one.sure:
        found.conflicts.append(
            f"{name}: one of this name was moved to {earlier.told.get('decision')} before (move "
            f"{earlier.number}), so the list may be about that one: add a column content, with the "
            "SHA-256 of the one that is meant, or decide on a list that is newer"
        )
        return
    if one.photo.parent == folder:
        found.before.append(name)
        return
    target = free_place(one.photo, folder)
    if target is None:
        found.duplicates.append(f"{name}: {folder.name} has it already; it stays where it is")
        return
    log.move(one.photo, target, {"decision": one.decision, **one.notes})
    found.moved.append(f"{name} -> {target}")


def take_back(log: Log, which: str, found: Applied) -> None:
    """Moves back the last move, all, or the one of a number, latest first."""
    standing = [move for move in log.moves.values() if move.state == "done"]
    if which not in ("last", "all"):
        standing = [move for move in standing if str(move.number) == which]
    if not standing:
        raise DataError(f"undo={which}: {log.path} has no such move that stands")
    for move in reversed(standing[-1:] if which == "last" else standing):
        name = shown(str(move.target))
        try:
            log.undo(move)
        except CheckpointError as error:
            log.stands(move)
            found.refused.append(str(error))
        else:
            found.moved.append(f"{name} -> {move.source}")


def _tell(found: Applied, moved: str) -> None:
    print(f"{len(found.moved)} {moved}" + (f": {list_some(found.moved, 3)}" if found.moved else ""))
    if found.before:
        print(f"{len(found.before)} were where they belong already")
    for what, lines in (
        ("duplicate", found.duplicates),
        ("conflict, not applied", found.conflicts),
        ("refused", found.refused),
    ):
        for line in lines:
            print(f"{what}: {line}", file=sys.stderr)
