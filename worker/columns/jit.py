"""How kernels are compiled: one decorator, and the place where the compiled code is kept.

Numba checks only the file of a function itself before it trusts its cache, not the files of the functions that are
inlined into it. The cache folder's name therefore holds a digest of every source file of this package.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def _cache_folder() -> Path:
    digest = hashlib.blake2b(digest_size=6)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    digest.update(b"checked" if numba.config.BOUNDSCHECK else b"")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "logloom" / f"kernels-{digest.hexdigest()}"


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_folder())


def kernel(function: F) -> F:
    """Compile `function` without the interpreter lock, cached on disk, on its first call with given types."""
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile `function` into each kernel that calls it."""
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function))
