"""Every option of `curate.py`, with its kind and range."""

from carsclf.options.kinds import Device, Flag, Items, Null, Number, Text, Whole, Word
from carsclf.options.training import SEED, SHARE, WORKERS, Table, below

PAGE: Table = {  # of curate.py and decide.py
    "page": Flag(),
    "port": Whole(at_least=0, at_most=65535),
    "who": Text() | Null(),
}
CURATE: Table = {
    "run": Text(),
    "folder": Text() | Null(),
    "root": Text() | Null(),
    **below(
        "folds",
        {
            "mode": Word("freeze", "run"),
            "count": Whole(at_least=2, at_most=100),
            "seed": SEED,
            "test": Flag(),
            "calibrate": Flag(),
        },
    ),
    **below(
        "confusing",
        {"wrong_above": SHARE, "several": Items(SHARE, count=2)},
    ),
    "label_errors.filter_by": Word(
        *("prune_by_noise_rate", "prune_by_class", "both", "confident_learning"),
        *("predicted_neq_given", "low_normalized_margin", "low_self_confidence"),
    ),
    **below(
        "duplicates",
        {
            "neighbours": Whole(at_least=1, at_most=100),
            "cosine": SHARE,
            "bits": Whole(at_least=0, at_most=32),
            "likeness": Number(above=0, at_most=1),
        },
    ),
    **below(
        "classes",
        {"lookalikes": Whole(at_least=0), "min_images": Whole(at_least=0)},
    ),
    **below(
        "pictures",
        {
            "short_side": Whole(at_least=1) | Null(),
            "dark": Number(at_least=0, at_most=255),
            "bright": Number(at_least=0, at_most=255),
            "deviations": Number(above=0),
            "subject": SHARE,
            "turned_gain": SHARE,
        },
    ),
    "sheets": Whole(at_least=0),
    **PAGE,
    "workers": WORKERS,
    "device": Device(),
}
