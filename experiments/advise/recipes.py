"""What the rules of `advise.py` rest on: trainings of several sizes and lengths. See README.md.

    python -m experiments.advise.recipes <cars> <scenes> <weights> <out.csv> [--jobs 2]

<weights> is a folder of files of ImageNet weights. Judged on validation, of the cars by another
split than the budgets are measured on. One thread each; seconds are of a processor. Rows that are
there are not made again.
"""

from pathlib import Path

from experiments.advise.measure import DATA as OTHERS
from experiments.measuring import Row, Rows, commit_of, parser_of, trained

COMMON = ["data.workers=0", "model.channels_last=true", "trainer.precision=32-true", "look=false"]
DATA = OTHERS | {"cars": [*OTHERS["cars"], "data.split_seed=1"]}  # the last one counts
LITE0, MOBILE = "tf_efficientnet_lite0", "mobilenetv2_100"
BOUNDARY = {LITE0: "blocks.3", MOBILE: "blocks.2"}
SIZES = [  # each group of about the same seconds
    (data, network, "partial", rate, size, epochs)
    for data, network, rate, shapes in (
        ("cars", LITE0, 2e-3, ((160, 12), (208, 7), (256, 5), (288, 4))),
        ("cars", MOBILE, 5e-4, ((96, 14), (128, 8), (160, 5), (192, 3))),
        ("scenes", MOBILE, 1.25e-4, ((128, 15), (160, 10), (224, 5), (288, 3))),
    )
    for size, epochs in shapes
]
LENGTHS = [
    (data, network, mode, rate, 96, epochs)
    for epochs in (1, 2, 4, 8, 16)
    for data, network, mode, rate in (
        ("cars", LITE0, "finetune", 2e-3),
        ("cars", MOBILE, "partial", 5e-4),
        ("scenes", LITE0, "finetune", 5e-4),
        ("scenes", MOBILE, "partial", 5e-4),
    )
]
COLUMNS = (
    *("data", "network", "mode", "rate", "image_size", "epochs"),
    *("top1", "images", "cpu_seconds", "recorded_in"),
)


def main() -> None:
    parser = parser_of(__doc__, "cars", "scenes", "weights", "out", seeds=(0,))
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()

    def one(data: str, network: str, mode: str, rate: float, size: int, epochs: int) -> Row:
        folder: Path = asked.out.parent / f"runs/{data}-{network}-{mode}-{rate:g}-{size}-{epochs}"
        views = ["mode.views=2", f"mode.boundary={BOUNDARY[network]}", "augmentation=light"]
        run, used = trained(
            folder, *COMMON, *DATA[data], f"data.root={getattr(asked, data)}", f"mode={mode}",
            *(views if mode == "partial" else []), f"model={network}", f"optimizer.lr={rate:g}",
            f"model.weights={next(asked.weights.glob(f'{network}*'))}", f"data.image_size={size}",
            f"trainer.max_epochs={epochs}", "reported=last",
        )  # fmt: skip
        return {
            "data": data, "network": network, "mode": mode, "rate": rate, "image_size": size,
            "epochs": epochs, "top1": round(run.metrics["val/top1"], 4),
            "images": run.split_sizes["val"], "cpu_seconds": round(used.cpu),
            "recorded_in": commit_of(run),
        }  # fmt: skip

    Rows(asked.out, COLUMNS, 6).fill([*SIZES, *LENGTHS], one, asked.jobs)


if __name__ == "__main__":
    main()
