"""Text for terminals. What a log holds never reaches one raw."""

import json


def printable(text: str) -> str:
    """Show whatever could move the cursor, change colours or reorder text as an escape, line ends too.

    What is JSON stays JSON, and means the same.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def printable_lines(text: str) -> str:
    """Show text of several lines as `printable` does each of them."""
    return "\n".join(map(printable, text.split("\n")))


def _escaped(character: str) -> str:
    # JSON's escapes are the ones that readers of logs know; what it leaves alone gets a code point.
    escaped = json.dumps(character)[1:-1]
    return escaped if len(escaped) > 1 else f"\\u{ord(character):04x}"
