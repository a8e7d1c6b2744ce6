"""Templates as the bytes that Redis holds: msgpack, never pickle. Knows nothing of connections.

What is read may have been written by anyone, so everything is checked: a value that fails is poisoned, not an error.
Redis' own packer, which merges templates, knows one type for byte strings and text, so only that one is written.
"""

import msgpack

from worker.parsing.templates import MAX_PARAMETERS, Template

#: Packed bytes of one template: longer ones are refused on both ways.
MAX_STORED_BYTES = 256 * 1024


def pack_stored(template: Template) -> bytes:
    """Pack as a list of literals, spacious, names and confidence. The script that merges templates knows this order."""
    fields = [template.literals, template.spacious, template.names, float(template.confidence)]
    return bytes(msgpack.packb(fields, use_bin_type=False))


def unpack_stored(packed: bytes) -> Template | None:
    """Unpack what `pack_stored` or Redis' own packer wrote; None for anything else."""
    if len(packed) > MAX_STORED_BYTES:
        return None
    try:
        literals, spacious, names, confidence = msgpack.unpackb(packed, raw=True)
        template = Template(
            literals=tuple(bytes(memoryview(literal)) for literal in literals),
            spacious=tuple(spacious),
            names=tuple(bytes(memoryview(name)).decode() for name in names),
            confidence=float(confidence),
        )
    except (ValueError, TypeError, msgpack.UnpackException):  # all that a wrong shape raises
        return None
    return template if _is_sound(template) else None


def _is_sound(template: Template) -> bool:
    parameters = len(template.literals) - 1
    return (
        0 <= parameters <= MAX_PARAMETERS
        and len(template.spacious) == len(template.names) == parameters
        and all(isinstance(claim, bool) for claim in template.spacious)
        and all(template.literals[1:-1])
        and 0.0 <= template.confidence <= 1.0
    )
