"""Fine-tune a checkpoint on a few labelled lines of a source, or of several, and its unlabelled log.

All of the encoder is trained, or its last layers (--layers N), or low-rank updates of it (--lora-rank R).
Writes OUT/checkpoint, which the worker loads; each source's prompt in it holds the templates that are known of it:

  LOGLOOM_MODEL__PATH=OUT/checkpoint, and prompt = "NAME" in the source's settings
"""

import sys

from training.teaching.commands import run

if __name__ == "__main__":
    sys.exit(run("fine-tune", __doc__ or ""))
