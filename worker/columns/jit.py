"""How kernels are compiled: one decorator, and the place where the compiled code is kept.

Numba checks only the file of a function itself before it trusts its cache, not the files of the functions that are
inlined into it. The cache folder's name therefore holds a digest of every source file of this package and of `parsing`.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from worker.columns.layout import U8

F = TypeVar("F", bound=Callable[..., object])


def _cache_folder() -> Path:
    digest = hashlib.blake2b(digest_size=6)
    columns = Path(__file__).parent
    parsing = columns.parent / "parsing"
    # The rules of `parsing` are compiled into kernels too: types of parameters, formats of headers, what is redacted.
    rules = [
        parsing / "redaction.py",
        parsing / "templates.py",
        parsing / "timestamps.py",
        parsing / "types.py",
        *(parsing / "headers").glob("*.py"),
    ]
    for source in sorted([*columns.glob("*.py"), *rules]):
        digest.update(source.read_bytes())
    digest.update(b"checked" if numba.config.BOUNDSCHECK else b"")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "logloom" / f"kernels-{digest.hexdigest()}"


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(_cache_folder())


def kernel(function: F) -> F:
    """Compile `function` without the interpreter lock, cached on disk, on its first call with given types."""
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function))


def inlined(function: F) -> F:
    """Compile `function` into each kernel that calls it."""
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function))


def _generate_memcpy(_typing: Any, target: Any, target_start: Any, source: Any, source_start: Any, length: Any) -> Any:
    """Call LLVM's memcpy on two byte arrays: numba's slice assignment looks for overlap and copies byte by byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = [context.cast(builder, arguments[place], signature.args[place], types.intp) for place in (1, 3, 4)]
        into = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        out_of = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        cgutils.raw_memcpy(builder, builder.gep(into, [numbers[0]]), builder.gep(out_of, [numbers[1]]), numbers[2], 1)
        return context.get_dummy_value()

    return types.void(target, target_start, source, source_start, length), generate


_memcpy = intrinsic(_generate_memcpy)


if numba.config.BOUNDSCHECK:

    @inlined
    def copy_bytes(target: U8, target_start: int, source: U8, source_start: int, length: int) -> None:
        """Copy `length` bytes of `source` into `target`; the two spans must not overlap. Callable from kernels only.

        Raises:
            IndexError: a span leaves its array. Raised only where NUMBA_BOUNDSCHECK is on; elsewhere nothing looks.

        """
        if length < 0 or target_start < 0 or source_start < 0:
            raise IndexError("copy_bytes: negative")
        if target_start + length > target.size or source_start + length > source.size:
            raise IndexError("copy_bytes: out of bounds")
        _memcpy(target, target_start, source, source_start, length)

else:

    @inlined
    def copy_bytes(target: U8, target_start: int, source: U8, source_start: int, length: int) -> None:
        """Copy `length` bytes of `source` into `target`; the two spans must not overlap. Callable from kernels only.

        Nothing looks whether the spans lie in their arrays, except where NUMBA_BOUNDSCHECK is on.
        """
        _memcpy(target, target_start, source, source_start, length)
