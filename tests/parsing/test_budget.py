"""The limit of tokens: it falls, and grows back."""

from worker.parsing.budget import TokenBudget


def test_it_falls_and_doubles_again() -> None:
    """It falls to what is asked, and after enough calls that fitted it doubles, until it is what it was."""
    budget = TokenBudget(1000)
    budget.lower(300)
    seen = [budget.tokens]
    for _ in range(1000):
        budget.fitted()
        if budget.tokens != seen[-1]:
            seen.append(budget.tokens)
    assert seen == [300, 600, 1000]


def test_a_call_that_does_not_fit_starts_the_count_again() -> None:
    """Growth needs calls in a row."""
    budget = TokenBudget(1000)
    budget.lower(300)
    for _ in range(63):
        budget.fitted()
    budget.lower(400)
    for _ in range(63):
        budget.fitted()
    assert budget.tokens == 300
    budget.fitted()
    assert budget.tokens == 600


def test_it_never_falls_to_nothing() -> None:
    """A row alone may not fit: the limit stays above zero."""
    budget = TokenBudget(2)
    budget.lower(0)
    assert budget.tokens == 1
