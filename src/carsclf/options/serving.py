"""Every option of the service, with its kind and range."""

from carsclf.options.kinds import Device, Flag, Null, Number, Text, Whole, Word
from carsclf.options.training import COUNT, Table, below

SERVE: Table = {
    "run": Text() | Null(),
    "evaluations": Text() | Null(),
    "folder": Text(),
    "log": Text() | Null(),
    "keep_photos": Flag(),
    "host": Text(),
    "port": Whole(at_least=0, at_most=65_535),
    "max_batch": Whole(at_least=1, at_most=4096),
    "max_delay_ms": Number(at_least=0, at_most=1000),
    "device": Device(),
    **below(
        "limits",
        {
            "images": COUNT,
            "megabytes": Number(above=0),
            "request_megabytes": Number(above=0, at_most=10_000),
            "megapixels": Number(above=0, at_most=268),
            "waiting": COUNT,
        },
    ),
    **below(
        "serving",
        {
            "name": Word("local", "ray"),
            "replicas": COUNT,
            "address": Text() | Null(),
            "cpu": Number(above=0),
            "gpu": Number(at_least=0),
        },
    ),
}
