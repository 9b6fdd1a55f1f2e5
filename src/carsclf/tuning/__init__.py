"""Many trials of the same training: spaces, searches, and the study that runs them."""

import warnings

# linear_operator's decorators, while BoTorch is imported; nobody here can mend them
warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
