"""The two nouns of this package: a sample, and the source that lists them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carsclf.errors import ConfigError, DataError, nearest


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled photo. `box`: (left, top, right, bottom) in pixels, the last two excluded."""

    id: str  # POSIX path below the source's root
    path: Path
    target: int  # index into the source's class names
    given: str | None = None  # "train", "val" or "test" where the source divides its photos itself
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Source:
    """Where samples come from. `protocols` are those for which all photos are there."""

    name: str
    root: Path
    class_names: list[str]
    samples: list[Sample]
    protocols: dict[str, str | None] = field(default_factory=dict)  # name -> why not, or None

    def __post_init__(self) -> None:
        if not self.samples:
            raise DataError(f"no pictures below {self.root}: is data.root right?")

    @property
    def own_protocol(self) -> str:
        """official where the source divides its photos itself, else fractions: `protocol=auto`."""
        return "official" if self.protocols.get("official", "none") is None else "fractions"

    def select(self, classes: Sequence[str] | None = None, min_images: int = 1) -> "Source":
        """The source with only some classes: those named, and those with enough images."""
        counts = Counter(sample.target for sample in self.samples)
        kept = list(classes) if classes else self.class_names
        for name in kept:
            if name not in self.class_names:
                hint = nearest(name, self.class_names)
                raise ConfigError(f"data.classes names {name!r}, which {self.root} lacks: {hint}")
        index = {name: i for i, name in enumerate(self.class_names)}
        kept = [name for name in kept if counts[index[name]] >= min_images]
        if not kept:
            most = max(counts.values())
            raise ConfigError(
                f"data.min_images_per_class={min_images} leaves no class: the largest has {most}"
            )
        new = {index[name]: i for i, name in enumerate(kept)}
        samples = [
            Sample(s.id, s.path, new[s.target], s.given, s.box)
            for s in self.samples
            if s.target in new
        ]
        return Source(self.name, self.root, kept, samples, self.protocols)

    def without(self, ids: set[str]) -> "Source":
        """The source without some samples (unreadable ones, say)."""
        samples = [sample for sample in self.samples if sample.id not in ids]
        return Source(self.name, self.root, self.class_names, samples, self.protocols)


def list_some(names: Sequence[str], most: int = 10) -> str:
    """Up to ten names and a count, for an error that stays one line."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
