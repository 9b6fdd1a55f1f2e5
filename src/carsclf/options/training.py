"""Every option of a training, with its kind and range."""

from carsclf.options.kinds import (
    Flag,
    Items,
    Kind,
    Name,
    Nothing,
    Null,
    Number,
    ProjectName,
    Settings,
    Stage,
    Text,
    Whole,
    Word,
)

Table = dict[str, Kind]

SEED = Whole(at_least=0, at_most=2**32 - 1)  # what numpy's old generator takes
SHARE = Number(at_least=0, at_most=1)
COUNT = Whole(at_least=1)
WORKERS = Word("auto") | Whole(at_least=0, at_most=256)
VALIDATED = ("val/top1", "val/top5", "val/macro_f1", "val/loss")
METRICS = Word(*VALIDATED, "train/top1", "train/loss")


def below(group: str, options: Table) -> Table:
    """A group's options by their full names."""
    return {f"{group}.{key}": kind for key, kind in options.items()}


DATA: Table = below(
    "data",
    {
        "name": Text(),
        "root": Text() | Null(),
        "source": Settings(),
        "source.images": Whole(at_least=1, at_most=1_000_000),
        "source.seed": SEED,
        "class_depth": COUNT | Null(),
        "ignore": Items(Text()) | Nothing(),
        "table": Text(),
        "columns": Settings(),
        "columns.path": Text(),
        "columns.class": Text(),
        "columns.split": Text() | Null(),
        "columns.box": Items(Text(), count=4) | Null(),
        "protocol": Word("auto", "official", "published", "fractions", "follow_up"),
        "val_fraction": Number(above=0, below=1),
        "test_fraction": Number(at_least=0, below=1),
        "fraction": Number(above=0, at_most=1),
        "classes": Items(Text()) | Null(),
        "mapping": Text() | Settings() | Null(),
        "min_images_per_class": Whole(at_least=0),
        "transform": Word("squash", "published", "random_resized_crop"),
        "image_size": Whole(at_least=8, at_most=4096),
        "interpolation": Word("bicubic", "bilinear"),
        "crop": Word("none", "box"),
        "margin": Number(at_least=0, at_most=10),
        "sampling": Word("natural", "balanced"),
        "batch_size": COUNT,
        "packed": Flag(),
        "workers": WORKERS,
        "skip_unreadable": Flag(),
        "split_seed": SEED | Null(),
        "bootstrap": SEED | Null(),
        "extra": Items(Text()) | Nothing(),
        "exclude": Text() | Null(),
        "decisions": Text() | Null(),
        "references": Items(Text()) | Text() | Nothing(),
        "leak": Word("none", "published"),
    },
)
MODEL: Table = below(
    "model",
    {
        "name": Text(),
        "weights": Text(),
        "text": Text() | Null(),
        "head": Word("random", "keep"),
        "new_rows": Word("random", "mean"),
        "channels_last": Word("auto", True, False),
        "compile": Flag(),
        "args": Settings(),
        "args.drop_rate": Number(at_least=0, below=1) | Null(),
        "args.drop_path_rate": Number(at_least=0, below=1) | Null(),
    },
)
MODE: Table = below(
    "mode",
    {
        "name": Text(),
        "boundary": Whole(at_least=0) | Stage() | Null(),
        "pool": Text(),
        "label_smoothing": Number(at_least=0, below=1),
        "cache": Flag(),
        "views": Whole(at_least=1, at_most=1000),
        "method": Word("lora", "bias", "scale_shift"),
        "rank": COUNT,
        "alpha": Number(above=0),
        "layers": Items(Text()) | Null(),
    },
)
CHANGES: Table = {
    **below(
        "augmentation",
        {
            "flip": SHARE,
            "rotation": Number(at_least=0, at_most=180),
            "zoom": Number(at_least=0, below=1),
            "policy": Word("none", "trivial", "rand"),
            "operations": Whole(at_least=1, at_most=10),
            "magnitude": Whole(at_least=0, at_most=30),
            "erasing": SHARE,
            "share": SHARE,
            "brightness": Number(at_least=0, at_most=1000),
            "contrast": Number(at_least=0, at_most=1000),
            "saturation": Number(at_least=0, at_most=1000),
            "hue": Number(at_least=-0.5, at_most=0.5),
            "mirrored": Flag(),
        },
    ),
    "mixing.alpha": Number(at_least=0.01, at_most=100),  # below, float32 has no Beta
    "class_weights.beta": Number(at_least=0, below=1),
    **below(
        "averaging",
        {
            "decay": Number(above=0, below=1),
            "start": Number(at_least=0, below=1),
            "lr_factor": Number(above=0) | Null(),
        },
    ),
    "unfreezing.epochs": Items(COUNT),
    **below(
        "resizing",
        {
            "sizes": Items(Whole(at_least=8, at_most=4096)),
            "epochs": Items(COUNT | Number(above=0, below=1)),
            "batch": Word("constant", "pixels"),
        },
    ),
    **below(
        "optimizer",
        {
            "lr": Number(above=0),
            "head_lr_factor": Number(above=0),
            "weight_decay": Number(at_least=0),
            "momentum": Number(at_least=0, below=1),
            "nesterov": Flag(),
            "layer_decay": Number(above=0, at_most=1) | Null(),
            "betas": Items(Number(at_least=0, below=1), count=2),
            "warmup_epochs": Number(at_least=0),
        },
    ),
    **below(
        "schedule",
        {
            "factor": Number(at_least=0, below=1),
            "patience": Whole(at_least=0),
            "monitor": METRICS,
            "every": COUNT,
            "warmup_epochs": Number(at_least=0),
            "final_factor": SHARE,
            "warmup_share": Number(above=0, below=1),
            "low": Number(above=0),
            "high": Number(above=0),
            "momentum": Flag(),
            "policy": Word("triangular", "triangular2", "exp_range"),
            "cycle_epochs": Number(above=0),
            "multiplier": Number(at_least=1),
            "decay_share": Number(above=0, at_most=1),
            "decay": Word("linear", "sqrt"),
        },
    ),
}
TRAINER: Table = below(  # others are Lightning's own
    "trainer",
    {
        "max_epochs": Whole(at_least=0),
        "accelerator": Text(),
        "devices": COUNT | Word("auto", -1) | Items(Whole(at_least=0)),
        "strategy": Text(),
        "precision": Word("auto", "32-true", "bf16-mixed", "16-mixed"),
        "gradient_clip_val": Number(at_least=0) | Null(),
        "deterministic": Word("warn", True, False),
        "log_every_n_steps": Whole(at_least=0),
    },
)
LR_FINDER: Table = below(
    "lr_finder",
    {
        "from": Number(above=0),
        "to": Number(above=0),
        "steps": Whole(at_least=20, at_most=10_000),
        "only": Flag(),
        "use": Word("valley", "steepest", "minimum") | Null(),
    },
)
GAN: Table = below(
    "gan",
    {
        "latent": Whole(at_least=1, at_most=4096),
        "generator_width": Whole(at_least=1, at_most=1024),
        "critic_width": Whole(at_least=1, at_most=1024),
        "n_critic": Whole(at_least=1, at_most=100),
        "penalty": Number(above=0),
        "lr": Number(above=0),
        "betas": Items(Number(at_least=0, below=1), count=2),
        "ema_decay": Number(above=0, below=1),
        "images_per_class": Whole(at_least=1, at_most=1_000_000),
        "samples_every": COUNT,
    },
)
LOGGER: Table = below(  # others are wandb.init's own
    "logger",
    {
        "project": ProjectName(),
        "group": Text() | Null(),
        "resume": Word("allow", "must", "never", "auto", True, False) | Null(),
    },
)
THROW_AWAY: Table = below(
    "throw_away",
    {"cutoff_share": Number(above=0, at_most=1), "identify": Text() | Null()},
)
OVERALL: Table = {
    "seed": SEED,
    "reported": Word("best", "last"),
    "monitor": Word(*VALIDATED),
    "look": Flag() | Word("only"),
}
OPTIONAL = {  # which not every source, mode or network has
    *("data.packed", "data.split_seed", "data.bootstrap", "data.leak"),
    *("data.class_depth", "data.ignore", "data.table"),
    *("data.sampling", "data.extra", "data.exclude", "data.mapping", "data.references"),
    *("data.decisions", "monitor"),
    *(key for key in DATA if key.startswith(("data.source.", "data.columns"))),
    *(key for key in MODEL if key.startswith("model.args.")),
    *("mode.views", "model.text", "model.head", "model.new_rows"),
    *(f"mode.{key}" for key in ("pool", "method", "rank", "alpha", "layers")),
}
REQUIRED = {*OVERALL, *DATA, *MODEL, *MODE, "trainer.max_epochs", "trainer.precision"} - OPTIONAL
TRAINING: Table = {
    **OVERALL,
    **DATA,
    **MODEL,
    **MODE,
    **CHANGES,
    **TRAINER,
    **LR_FINDER,
    **GAN,
    **LOGGER,
    **THROW_AWAY,
}
NAMING: Table = {
    "name": Name() | Null(),
    "runs": Text(),
    "resume": Text() | Null(),
    "overrides": Text() | Null(),
}
