"""The two nouns of this package: a sample, and the source that lists them."""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carsclf.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev", "devset"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
BESIDE = {
    *("seg", "set", "split", "data", "dataset"),
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
}
"""Words that stand beside a split's name: seg_train, test-set, validation_data."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled photo. `box`: (left, top, right, bottom) in pixels, the last two excluded."""

    id: str  # POSIX path below the source's root
    path: Path
    target: int  # index into the source's class names
    given: str | None = None  # "train", "val" or "test" where the source divides its photos itself
    box: tuple[int, int, int, int] | None = None
    copy: bool | None = None  # in training: always changed, never, or (None) as chance has it
    turn: int = 0  # degrees clockwise by which its (upright, cropped) picture is turned in reading


@dataclass(frozen=True)
class Source:
    """Where samples come from. `protocols` are those for which all photos are there."""

    name: str
    root: Path
    class_names: list[str]
    samples: list[Sample]
    protocols: dict[str, str | None] = field(default_factory=dict)  # name -> why not, or None
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # why -> what, below root
    noted: "pd.DataFrame | None" = None  # what else is known of each photo; its column id

    def __post_init__(self) -> None:
        if not self.samples:
            raise DataError(
                f"no pictures below {self.root}{told_left_out(self.left_out)}: is data.root right?"
            )

    @property
    def own_protocol(self) -> str:
        """official where the source divides its photos itself, else fractions: `protocol=auto`."""
        return "official" if self.protocols.get("official", "none") is None else "fractions"

    def select(self, classes: Sequence[str] | None = None, min_images: int = 1) -> "Source":
        """The source with only some classes: those named, and those with enough images."""
        counts = Counter(sample.target for sample in self.samples)
        # a class may be named 0 on a command line
        kept = [str(name) for name in classes] if classes else self.class_names
        for name in kept:
            if name not in self.class_names:
                hint = nearest(name, self.class_names)
                raise ConfigError(f"data.classes names {name!r}, which {self.root} lacks: {hint}")
        if twice := [name for name, count in Counter(kept).items() if count > 1]:
            raise ConfigError(f"data.classes names {list_some(twice)} more than once")
        index = {name: i for i, name in enumerate(self.class_names)}
        kept = [name for name in kept if counts[index[name]] >= min_images]
        if not kept:
            most = max(counts.values())
            raise ConfigError(
                f"data.min_images_per_class={min_images} leaves no class: the largest has {most}"
            )
        new = {index[name]: i for i, name in enumerate(kept)}
        samples = [
            dataclasses.replace(s, target=new[s.target]) for s in self.samples if s.target in new
        ]
        return dataclasses.replace(self, class_names=kept, samples=samples)

    def below(self, min_images: int, classes: Sequence[str] | None = None) -> dict[str, int]:
        """How many photos each class lacks that has fewer; of those named, where some are."""
        counts = Counter(sample.target for sample in self.samples)
        asked = {str(name) for name in classes} if classes else None
        return {
            name: min_images - counts[i]
            for i, name in enumerate(self.class_names)
            if counts[i] < min_images and (asked is None or name in asked)
        }

    def without(self, why: Mapping[str, str]) -> "Source":
        """The source without the unreadable photos of these ids."""
        samples = [sample for sample in self.samples if sample.id not in why]
        told = [f"{id}: {reason}" for id, reason in why.items()]
        left_out = {**self.left_out, "unreadable": told}
        return dataclasses.replace(self, samples=samples, left_out=left_out)

    def without_ids(self, ids: Collection[str]) -> "Source":
        """The source without the photos of these ids; what it says of itself stays."""
        return dataclasses.replace(self, samples=[s for s in self.samples if s.id not in ids])


def data_root(root: str | Path, expected: str) -> Path:
    """The absolute folder that `data.root` names; raises DataError where there is none."""
    path = absolute(root)
    if not path.is_dir():
        packed = path.is_file() and path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".bz2")
        unpack = "unpack it first; " if packed else ""
        raise DataError(f"data.root={shown(str(path))} is no folder: {unpack}{expected}")
    check_names([str(path)])
    return path.resolve()


def absolute(path: str | Path) -> Path:
    """`~` and relative paths as absolute ones; links stay, since they may be moved on purpose."""
    return Path(os.path.abspath(os.path.expanduser(str(path))))


def split_of(name: str) -> str | None:
    """train, val or test where a folder or a cell is named so, in any case, or usually so."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word not in BESIDE]
    return SPLIT_WORDS.get(words[0]) if len(words) == 1 else None


def check_names(paths: Sequence[str]) -> None:
    """Refuses names that no table or configuration could hold."""
    if wrong := [path for path in paths if re.search("[\ud800-\udfff]", path)]:
        raise DataError(
            f"{len(wrong)} names are not UTF-8: {list_some(wrong)}; rename them, for instance "
            "with: convmv -f latin1 -t utf8 -r --notest <folder>"
        )


def check_classes(root: Path, class_names: Sequence[str], samples: Sequence[Sample]) -> None:
    """Refuses a single class, and classes of given splits that training would never see."""
    if len(class_names) == 1:
        raise DataError(
            f"all pictures below {root} are of one class, {shown(class_names[0])}: expected two or "
            "more; is data.root right?"
        )
    trained = {sample.target for sample in samples if sample.given in (None, "train")}
    first = {s.target: s.id for s in reversed(samples) if s.target not in trained}
    if first:
        said = [f"{class_names[target]} ({id})" for target, id in sorted(first.items())]
        known = {class_names[target].casefold(): class_names[target] for target in trained}
        close = [known[n] for t in first if (n := class_names[t].casefold()) in known]
        raise DataError(
            f"{len(first)} classes below {root} have no training picture: {list_some(said, 5)}; "
            + (
                f"did you mean {list_some(close)}?"
                if close
                else "add some, or leave the class out (data.ignore passes over folders)"
            )
        )


def list_some(names: Sequence[str], most: int = 10) -> str:
    """Up to ten names and a count, for an error that stays one line."""
    rest = len(names) - most
    return ", ".join(map(shown, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def shown(name: str) -> str:
    """A name in one line that any terminal takes: line breaks and broken letters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def told_left_out(left_out: Mapping[str, Sequence[str]]) -> str:
    """A clause for a line: how many of what, with the first names; empty where nothing was."""
    said = [f"{len(names)} {why} ({list_some(names, 3)})" for why, names in left_out.items()]
    return f"; left out: {', '.join(said)}" if said else ""
