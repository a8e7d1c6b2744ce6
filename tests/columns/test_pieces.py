"""Pieces of events that are rendered ahead of time."""

from worker.columns.pieces import parameter_attributes


def test_attributes_of_parameters_are_distinct() -> None:
    """The first of a name has it, others a number behind it, also where that is a name already; none has none."""
    prefix = "log.record.parameter."
    found = parameter_attributes(["a", "", "a_2", "a", "", "a"])
    assert [prefix + "a", "", prefix + "a_2", prefix + "a_3", "", prefix + "a_4"] == found
