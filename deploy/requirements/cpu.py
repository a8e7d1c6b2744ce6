"""`python cpu.py SHA256 <worker.lock`: the same without CUDA, and with torch as the CPU wheel of this hash."""  # noqa: INP001  a script, no package

import re
import sys

#: What only torch's CUDA build needs.
_CUDA = re.compile(r"nvidia-|cuda-|triton==")


def without_cuda(lock: str, torch_sha256: str) -> str:
    """Return `lock` without CUDA's packages; torch's version stays, its hash is that of one CPU wheel."""
    packages = re.split(r"\n(?=\S)", lock.strip())
    return "".join(f"{_on_cpu(package, torch_sha256)}\n" for package in packages if not _CUDA.match(package))


def _on_cpu(package: str, sha256: str) -> str:
    if not package.startswith("torch=="):
        return package
    version = package.split(maxsplit=1)[0]
    return f"{version}+cpu --hash=sha256:{sha256}"


if __name__ == "__main__":
    sys.stdout.write(without_cuda(sys.stdin.read(), sys.argv[1]))
