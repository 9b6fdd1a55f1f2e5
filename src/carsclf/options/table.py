"""Every option of every command, with its kind and range; those of a training stand beside it."""

from carsclf.options.advise import ADVISE
from carsclf.options.curation import CURATE, PAGE
from carsclf.options.kinds import (
    Amount,
    Device,
    Flag,
    Items,
    Nothing,
    Null,
    Number,
    ProjectName,
    Settings,
    Text,
    Whole,
    Word,
)
from carsclf.options.reference import GATE, REFERENCE
from carsclf.options.serving import SERVE
from carsclf.options.training import (
    COUNT,
    DATA,
    METRICS,
    MODEL,
    NAMING,
    SEED,
    SHARE,
    TRAINING,
    WORKERS,
    Table,
    below,
)

STUDY: Table = {
    **NAMING,
    "trainer.max_epochs": COUNT,  # a trial is judged by its epochs
    **below(
        "objective",
        {
            "kind": Word("train", "replay"),
            "metric": METRICS,
            "mode": Word("max", "min"),
            "table": Text(),
            "workers": Whole(at_least=1, at_most=10_000),
            "known": Settings(),
        },
    ),
    **below(
        "search",
        {
            "budget": Number(at_least=1) | Null(),  # full trainings
            "hours": Number(above=0) | Null(),
            "final": Number(at_least=0, below=1),
            "prior": SHARE,
            "start": Items(Text() | Items(Text())) | Nothing(),
            "trials": COUNT,
            "seed": SEED,
            "grace": Number(above=0, below=1),
            "reduction": Number(above=1, at_most=1000),
            "rungs": Whole(at_least=2, at_most=20),
            "fidelities": Items(Number(above=0, at_most=1)),
            "scheduler": Settings() | Null(),
            "searcher": Settings() | Null(),
        },
    ),
    "cluster.address": Text() | Null(),
    "cluster.dashboard": Flag(),
    "callbacks": Settings() | Null(),
    **below(
        "resources",
        {
            "cpu": Amount(),
            "gpu": Amount() | Word("auto"),
            "workers": COUNT | Null(),
        },
    ),
}
EVALUATE: Table = {
    "run": Text() | Null(),
    "runs": Items(Text()) | Null(),
    "ensemble": Word("mean", "vote", "weighted", "soup") | Null(),
    "folder": Text() | Null(),
    "seed": SEED,
    "split": Word("train", "val", "test"),
    "reference": Text() | Null(),
    "tta": Word("flip", "crops", "ten_crop", "scales") | Null(),
    "root": Text() | Null(),
    "batch_size": Whole(at_least=1, at_most=65_536),
    "workers": WORKERS,
    "device": Device(),
    "worst": Whole(at_least=0),
}
PREDICT: Table = {
    "run": Text(),
    "images": Items(Text()) | Text() | Null(),
    "csv": Text() | Null(),
    "top": COUNT,
    "openness": Word("auto", True, False),
    "root": Text() | Null(),
    "filter": Word("few", "synthetic", "look_alikes", "unknown", "lowest") | Null(),
    "table": Text() | Null(),
    "library": Text() | Null(),
    "sheet": Whole(at_least=0, at_most=1000),
    **below(
        "limits",
        {
            "few": COUNT,
            "synthetic": SHARE,
            "medium": Items(SHARE, count=2),
            "far": SHARE,
            "unknown": SHARE,
            "lowest": SHARE,
        },
    ),
    "batch_size": Whole(at_least=1, at_most=65_536),
    "device": Device(),
}
DECIDE: Table = {
    "decisions": Text() | Null(),
    "photos": Text() | Null(),
    "library": Text(),
    "quarantine": Text() | Null(),
    "new": Items(Text()) | Null(),
    "undo": Text() | Null(),
    **PAGE,
}
REPORT: Table = {
    "runs": Items(Text()) | Text() | Nothing(),
    "studies": Items(Text()) | Text() | Nothing(),
    "log": Text() | Null(),
    "period": Word("auto", "day", "week", "month"),
    "since": Text() | Null(),
    "until": Text() | Null(),
    "folder": Text() | Null(),
    "gallery": Whole(at_least=0),
    "attention": Flag(),
    "root": Text() | Null(),
    "upload": Flag(),
    "project": ProjectName(),
    "entity": ProjectName() | Null(),
    **below(
        "cost",
        {
            "price_per_hour": Number(at_least=0) | Null(),
            "currency": Text(),
            "machine": Text() | Null(),
            "date": Text() | Null(),
            "source": Text() | Null(),
        },
    ),
}
STYLIZE: Table = {
    **DATA,
    **MODEL,
    "out": Text(),
    "styles": Text(),
    "split": Word("train", "val", "test"),
    "photos": COUNT | Null(),
    "per_image": Whole(at_least=1, at_most=1000),
    "strength": SHARE,
    "size": Whole(at_least=32, at_most=4096),
    "stage": Whole(at_least=2, at_most=20),
    "style_weight": Number(at_least=0),
    "steps": Whole(at_least=1, at_most=10_000_000),
    "decoder": Text() | Null(),
    "seed": SEED,
    "device": Device(),
}
COMMANDS: dict[str, Table] = {
    "train": {**TRAINING, **NAMING},
    "tune": {**TRAINING, **STUDY},
    "evaluate": EVALUATE,
    "predict": PREDICT,
    "curate": CURATE,
    "stylize": STYLIZE,
    "decide": DECIDE,
    "reference": REFERENCE,
    "gate": GATE,
    "report": REPORT,
    "serve": SERVE,
    "advise": {**TRAINING, **ADVISE},
}
