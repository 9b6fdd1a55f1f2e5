"""Which photos a run was trained, validated and tested on, kept with it as it begins.

What its data hold may change afterwards: a library grows, and a split drawn anew is another.
"""

from collections.abc import Sequence
from pathlib import Path

from carsclf.data.samples import Sample
from carsclf.data.splits import Splits
from carsclf.errors import CheckpointError
from carsclf.files import atomic_write


def write_photos(splits: Splits, class_names: Sequence[str], file: Path) -> None:
    """A row per photo, as parquet: id, split, class, path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"id": s.id, "split": name, "class": class_names[s.target], "path": str(s.path)}
        for name, samples in splits.items()
        for s in samples
    ]
    table = pa.Table.from_pylist(rows)
    with atomic_write(file) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_photos(file: Path, splits: Sequence[str], root: str | Path | None = None) -> list[Sample]:
    """Those of some splits that are still there, below `root` where they moved.

    Their targets mean nothing. Raises CheckpointError where the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(file, columns=["id", "split", "path"]).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise CheckpointError(f"{file} cannot be read ({error})") from None
    places = [
        (row["id"], Path(root).expanduser() / row["id"] if root else Path(row["path"]))
        for row in rows
        if row["split"] in splits
    ]
    return [Sample(id, path, 0) for id, path in places if path.is_file()]
