"""How published labels write a template, given the format of a logging call.

The rules are those of Khan, Shin, Bianculli and Briand, "Guidelines for Assessing the Accuracy of Log Message Template
Identification Techniques", ICSE 2022, in their order: double space, path-like string, boolean, user string, digit,
word concatenated with a variable, dot-separated variables, consecutive variables; and, as later label sets do,
variables separated by a colon.
"""

import re

from training.labels import collapsed
from worker.parsing.templates import WILDCARD

#: What ends a path; a token ends at these and at a few more.
_PATH_ENDS = re.escape(",!;:=|\"'[](){}")
_TOKEN_ENDS = _PATH_ENDS + re.escape(".-+@#$%&")

_STRETCH = re.compile(rf"[^\s{_PATH_ENDS}]+")
_TOKEN = re.compile(rf"[^\s{_TOKEN_ENDS}]+")
_PATH = re.compile(r"(?:/[^/]+)+/?")
#: A token that is a value wherever it stands: a boolean, a user that every system has, a number.
_VALUE = re.compile(r"true|false|null|root|admin|[0-9]+", re.IGNORECASE)
#: A relative path keeps its constant folders: the paper leaves tokens with a slash alone.
_CONCATENATED = re.compile(r"[^/]*<\*>[^/]*")
_NEIGHBOURS = re.compile(r"<\*>(?:[.:]?<\*>)+")


def corrected(template: str) -> str:
    """Write a format, `<*>` for what the call fills in, as the published labels would.

    Runs of white space become one space, none at the ends. A string between white space and `,!;:=|"'[](){}` that is
    an absolute path, a slash at its end or not (the paper's code wants none), becomes `<*>`. A token, ending at
    `.-+@#$%&` too, becomes `<*>` if it is true, false, null, root, admin (in any case) or digits alone, or holds `<*>`
    and no slash: `*<*>` and `<<*>>` too, as in the paper's code. Wildcards with nothing, a dot or a colon between them
    become one. A message without blanks at its ends that matches `template` matches what is returned too; what is
    returned stays as it is when corrected again.
    """
    text = _STRETCH.sub(lambda found: WILDCARD if _PATH.fullmatch(found[0]) else found[0], collapsed(template).strip())
    text = _TOKEN.sub(lambda found: WILDCARD if _is_value(found[0]) else found[0], text)
    return _NEIGHBOURS.sub(WILDCARD, text)


def _is_value(token: str) -> bool:
    return bool(_VALUE.fullmatch(token) or _CONCATENATED.fullmatch(token))
