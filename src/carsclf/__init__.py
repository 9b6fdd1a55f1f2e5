"""Transfer learning on fine-grained pictures: which network, fine-tuned or frozen, at what cost."""

__version__ = "0.1.0"
