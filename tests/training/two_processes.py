"""Two processes that train one model, as torchrun starts them."""

import subprocess
import sys
from pathlib import Path


def in_two_processes(*command: str) -> None:
    """Run a script, or `-m` and a module, with its arguments, in the repository's root."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, *command], check=True, capture_output=True, timeout=200, cwd=Path(__file__).parents[2])
