"""What is searched, and under which choice of which other parameter."""

from carsclf.tuning.space.parameter import Parameter, Raw
from carsclf.tuning.space.space import Space

__all__ = ["Parameter", "Raw", "Space"]
