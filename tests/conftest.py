"""What every test shares: kernels run with bounds checks, so that a read outside a column fails instead of passing."""

import os

os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
