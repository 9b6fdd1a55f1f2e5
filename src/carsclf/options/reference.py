"""Every option of `reference.py` and `gate.py`, with its kind and range."""

from carsclf.options.kinds import Device, Items, Nothing, Null, Number, Settings, Text, Whole, Word
from carsclf.options.training import SHARE, WORKERS, Table, below

REFERENCE: Table = {
    "name": Text(),
    "photos": Text() | Null(),
    "run": Text() | Null(),
    "split": Word("train", "val", "test"),
    "root": Text() | Null(),
    "folder": Text(),
}
GATE: Table = {
    "candidate": Text(),
    "deployed": Text() | Null(),
    "references": Items(Text()) | Text(),
    "roots": Settings() | Null(),
    "data_root": Text() | Null(),
    "folder": Text() | Null(),
    "minimum": SHARE | Null(),
    "worse_by": SHARE,
    "class_worse_by": SHARE,
    "significance": Number(above=0, below=1),
    **below(
        "important",
        {"classes": Items(Text()) | Nothing(), "minimum": SHARE | Null(), "worse_by": SHARE},
    ),
    "batch_size": Whole(at_least=1, at_most=65_536),
    "workers": WORKERS,
    "device": Device(),
}
