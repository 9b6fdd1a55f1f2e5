"""Every option of `advise.py` beside those of a training, with its kind and range."""

from carsclf.options.kinds import Device, Items, Null, Number, Settings, Text
from carsclf.options.training import NAMING, Table

ADVISE: Table = {
    **{key: kind for key, kind in NAMING.items() if key != "overrides"},
    "hours": Number(above=0, at_most=10_000),
    "latency_ms": Number(above=0) | Null(),
    "device": Device(),
    "candidates": Items(Text() | Settings()),
    "weights": Text() | Null(),
}
