"""What every test shares: kernels run with bounds checks, so that a read outside a column fails instead of passing."""

import os

import hypothesis
import numba

os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
# pytest's warning filters name one of numba's classes, which imports numba before this file sets the variable.
numba.config.reload_config()

# The first example of a property may compile a kernel, which takes seconds.
hypothesis.settings.register_profile("kernels", deadline=None)
hypothesis.settings.load_profile("kernels")

pytest_plugins = ("tests.redis_server",)
