"""Tables that take a while to make, kept with a key of all that they hang on."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from carsclf.files import atomic_write


def kept(path: Path, key: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table at `path` if it was made under this key, else a new one, which is kept."""
    try:
        table = pd.read_parquet(path)
        if table.attrs.get("key") == key:
            return table
    except Exception:  # not there, or damaged
        pass
    table = make()
    table.attrs["key"] = key
    with atomic_write(path) as temporary:
        table.to_parquet(temporary)
    return table
