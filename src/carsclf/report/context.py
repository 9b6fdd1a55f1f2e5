"""What every section is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from carsclf.report.groups import Group
from carsclf.report.material import Material
from carsclf.report.page import Desk
from carsclf.report.pairs import Pair


@dataclass
class Price:
    """What a device hour costs, and who says so."""

    price_per_hour: float | None = None
    currency: str = "USD"
    machine: str | None = None
    date: str | None = None
    source: str | None = None

    @property
    def told(self) -> str:
        """The price with its origin, in words."""
        if self.price_per_hour is None:
            return "no price given (cost.price_per_hour=..., or cost=aws_p2_xlarge and the like)"
        about = ", ".join(x for x in (self.machine, self.date, self.source) if x)
        return f"{self.price_per_hour} {self.currency} per device hour" + (
            f" ({about})" if about else ""
        )


@dataclass
class Context:
    """Material, its configurations best first, their pairs, the desk, and the settings."""

    material: Material
    groups: list[Group]
    pairs: list[Pair]
    desk: Desk
    price: Price
    gallery: int
    attention: bool
    root: str | None
    options: Sequence[str] = ()
    """What report.py was told, for the page's own command."""
    warnings: list[str] = field(default_factory=list)

    @property
    def split(self) -> str:
        """The split of judgement, as people call it."""
        return {"val": "validation", "test": "test"}[self.material.split]

    @property
    def judged(self) -> str:
        """Protocol and split, which stand beside every accuracy."""
        images = next((g.images for g in self.groups if g.images), None)
        many = f", {images:,} photos" if images else ""
        return f"{self.split}, protocol {self.material.protocol}{many}"

    @property
    def final(self) -> str:
        """A study's final, where what it chose by is not what is shown here."""
        return "final, which decides on validation," if self.material.clean else "final"

    @property
    def predicted(self) -> list[Group]:
        """Configurations with predictions, best first."""
        return [g for g in self.groups if g.predictions is not None]
