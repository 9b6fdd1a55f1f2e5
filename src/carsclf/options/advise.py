"""Every option of `advise.py` beside those of a training, with its kind and range."""

from carsclf.options.kinds import Device, Flag, Items, Null, Number, Settings, Text, Whole, Word
from carsclf.options.training import NAMING, Table, below

ADVISE: Table = {
    **{key: kind for key, kind in NAMING.items() if key != "overrides"},
    "hours": Number(above=0, at_most=10_000),
    "latency_ms": Number(above=0) | Null(),
    "device": Device(),
    "candidates": Items(Text() | Settings()),
    "weights": Text() | Null(),
    **below(
        "plan",
        {
            "network": Text() | Null(),
            "mode": Word("freeze", "finetune", "partial") | Null(),
            "image_size": Whole(at_least=16, at_most=4096) | Null(),
            "epochs": Whole(at_least=1, at_most=10_000) | Null(),
            "search": Flag() | Null(),
        },
    ),
}
