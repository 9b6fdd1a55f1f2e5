"""What each way to train a network costs and reaches: see README.md.

    python -m experiments.adapt.measure <cars> <weights> <out.csv> [--seeds 0 1 2] [--jobs 2]

Each row is one `train.py` and one `evaluate.py split=test` of its run, in processes of their own,
whose processor time and peak of resident memory the system tells (one thread each, so that other
jobs beside it hardly count). Rows that are there are not made again.
"""

from itertools import product
from pathlib import Path

from experiments.measuring import Row, Rows, commit_of, parser_of, tested, trained

PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
    *("data.split_seed=0", "data.image_size=96", "data.workers=0", "model=mobilenetv2_100"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
EPOCHS = "trainer.max_epochs=6"
LOWER = ["optimizer.lr=0.0005", "optimizer.head_lr_factor=10", EPOCHS]  # rates.csv
ADAPT = ["mode=adapt", *LOWER]
WAYS = {
    "freeze": ["mode=freeze"],
    "partial, 4 stages frozen": ["mode=partial", "mode.boundary=4", EPOCHS],
    "biases": [*ADAPT, "mode.method=bias"],
    "scale and shift": [*ADAPT, "mode.method=scale_shift"],
    "LoRA": [*ADAPT, "mode.method=lora"],
    "LoRA, 4 stages frozen": [*ADAPT, "mode.method=lora", "mode.boundary=4", "augmentation=none"],
    "finetune": ["mode=finetune", *LOWER],
    "finetune, default rate": ["mode=finetune", EPOCHS],
}
COLUMNS = (
    *("way", "seed", "val_top1", "test_top1", "trained", "network", "seconds"),
    *("cpu_seconds", "peak_mib", "evaluation_mib", "recorded_in"),
)


def measure(way: str, seed: int, runs: Path, given: list[str]) -> Row:
    """One training and its evaluation, as a row."""
    folder = runs / f"{way.replace(',', '').replace(' ', '-')}-{seed}"
    run, used = trained(folder, *PROTOCOL, *given, *WAYS[way], f"seed={seed}")
    top1, without = tested(folder)
    return {
        "way": way,
        "seed": seed,
        "val_top1": round(run.metrics["val/top1"], 4),
        "test_top1": round(top1, 4),
        "trained": run.parameters["trained"],
        "network": run.parameters["network"],
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(used.cpu),
        "peak_mib": round(used.peak_mib),
        "evaluation_mib": round(without.peak_mib),  # libraries, photos and a forward pass
        "recorded_in": commit_of(run),
    }


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    runs = asked.out.parent / "runs"
    Rows(asked.out, COLUMNS, 2).fill(
        ((way, seed) for seed, way in product(asked.seeds, WAYS)),
        lambda way, seed: measure(way, seed, runs, given),
        asked.jobs,
    )


if __name__ == "__main__":
    main()
