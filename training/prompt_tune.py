"""Learn a soft prompt for a source, some kilobytes, and leave the encoder as it is.

A prompt has vectors beside the tokens (--prompt-length), keys and values in every layer (--prefix-length), and virtual
label tokens. Prompts of many sources run in one micro-batch on one encoder.
Writes OUT/checkpoint, which the worker loads; OUT/checkpoint/prompts/NAME is what was learned:

  LOGLOOM_MODEL__PATH=OUT/checkpoint, and prompt = "NAME" in the source's settings
"""

import sys

from training.teaching.commands import run

if __name__ == "__main__":
    sys.exit(run("prompt-tune", __doc__ or ""))
