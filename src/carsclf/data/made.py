"""What a folder of made pictures says of itself."""

from dataclasses import dataclass
from typing import Any

from carsclf.files import JsonRecord


@dataclass(frozen=True)
class Synthetic(JsonRecord):
    """What `synthetic.json` says of a folder of made pictures, `<class name>/*.png` or .jpg.

    sources: of each picture (its path below the folder) the id of the photo it was made of;
    trained_on: the ids of all photos that a generator saw. One of the two has to be there. made_by:
    settings; `split_seed` and `crop` are those of the data.
    """

    kind: str  # wgan, style, ...
    classes: list[str]
    seed: int
    made_by: dict[str, Any]
    sources: dict[str, str] | None = None
    trained_on: list[str] | None = None
    split: str = "train"  # whose photos they were made of
    styles: dict[str, str] | None = None  # of each picture, where they were made in several

    def mistake(self) -> str | None:
        """What of it is not as it should be."""

        def texts(values: Any) -> bool:
            return isinstance(values, list) and all(isinstance(v, str) and v for v in values)

        if not isinstance(self.kind, str) or not self.kind:
            return "kind: expected a word, such as wgan or style"
        if not texts(self.classes) or not self.classes:
            return "classes: expected a list of class names"
        if not isinstance(self.made_by, dict):
            return "made_by: expected settings by name"
        if self.sources is None and self.trained_on is None:
            return (
                "sources or trained_on is missing, so nobody knows of which photos the pictures "
                "were made; trained_on: [] where it was none"
            )
        if self.sources is not None and not (
            isinstance(self.sources, dict) and texts([*self.sources, *self.sources.values()])
        ):
            return "sources: expected the id of a photo for the path of each picture"
        if self.trained_on is not None and not texts(self.trained_on):
            return "trained_on: expected a list of ids of photos"
        if self.split != "train":
            return f"made of photos of {self.split}, to measure by: nothing may train on them"
        return None
