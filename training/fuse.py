"""Fine-tune one encoder on all sources and learn a soft prompt for each: one checkpoint that serves them all.

--order says what comes first: fine-tune-first (a prompt per source on the encoder that all have taught), prompt-first,
or joint.
Writes OUT/checkpoint, which the worker loads; OUT/checkpoint/prompts has a folder for each source:

  LOGLOOM_MODEL__PATH=OUT/checkpoint, and prompt = "NAME" in each source's settings
"""

import sys

from training.teaching.commands import run

if __name__ == "__main__":
    sys.exit(run("fuse", __doc__ or ""))
