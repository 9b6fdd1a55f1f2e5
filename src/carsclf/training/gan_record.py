"""What a GAN's run folder says of it."""

from dataclasses import dataclass, field

from carsclf.files import JsonRecord


@dataclass(frozen=True)
class GanRun(JsonRecord):
    """One training of a GAN, as told by its `run.json`; what a Run has too is as there."""

    source: str
    protocol: str
    split_sizes: dict[str, int]
    classes: int
    seed: int
    device: str
    precision: str
    versions: dict[str, str]
    git_commit: str | None
    epochs: int
    horizon: int
    seconds: float
    images_trained: int
    metrics: dict[str, float]  # of the last epoch, on its training pictures
    finished: bool
    images_made: int
    parameters: dict[str, int] = field(default_factory=dict)  # of generator and critic
    kind: str = "gan"


@dataclass(frozen=True)
class GeneratorCard(JsonRecord):
    """All that is needed to use `generator.safetensors`: `generator.json`; carsclf.models.gan."""

    class_names: list[str]
    size: int
    latent: int
    width: int
