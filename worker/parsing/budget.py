"""How many tokens go through the network at once: fewer for a while after the device had too little memory."""

#: Calls in a row that must fit before twice as many tokens are tried.
_CALLS_TO_GROW = 64


class TokenBudget:
    """A limit that falls when a call does not fit, and doubles again while calls do.

    It counts calls rather than seconds: an idle device says nothing of its memory.
    """

    def __init__(self, most: int) -> None:
        """Never allow more than `most` tokens."""
        #: Most tokens of the next call; one row alone may have more.
        self.tokens = most
        self._most = most
        self._fitted = 0

    def lower(self, tokens: int) -> None:
        """Allow at most `tokens` from now on."""
        self.tokens = max(min(self.tokens, tokens), 1)
        self._fitted = 0

    def fitted(self) -> None:
        """Note that a call fitted."""
        if self.tokens == self._most:
            return
        self._fitted += 1
        if self._fitted == _CALLS_TO_GROW:
            self.tokens, self._fitted = min(2 * self.tokens, self._most), 0
