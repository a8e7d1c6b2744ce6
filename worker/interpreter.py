"""Sets Python up for hits that wait for nobody: neither for a thread that parses, nor for the garbage collector.

For the process `logloom worker` alone: what is set here holds for everything in it.
"""

import gc
import sys

#: Longest turn of a thread, Python's own is 5 ms: a batch of hits asks for Python some ten times.
SWITCH_SECONDS = 0.0005
#: New objects before the youngest are looked at for cycles, and how often that is done before older ones are; Python's
#: own are 700, 10, 10. A look at all objects took 80 to 120 ms with 4,000 templates, and no batch goes on meanwhile.
GENERATIONS = 20_000, 20, 50


def favour_hits() -> None:
    """Let threads change often and the garbage collector come seldom, and never again for what is loaded by now."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GENERATIONS)
