"""All targets by name. Importing this imports what they read with: late, so that coverage can be watched first."""

from collections.abc import Mapping

from tests.fuzz import batches, envelopes, files, headers, paths, redaction, templates
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (envelopes, headers, batches, templates, redaction, paths, files)
    for target in module.TARGETS
}
