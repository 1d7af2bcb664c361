"""A cell is right only if its controls hold; a wrong one is never hidden by a right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.load.truth_table import Cell, Control, Judgement, picture, settled

HOLDS = Control("a fence keeps a stranger out", False, ("timeout",))
BROKEN = Control("a fence keeps a stranger out", False, ("open",))


@pytest.mark.parametrize(
    ("expected", "outcomes", "controls", "judgement"),
    [
        (True, ("open", "open"), (HOLDS,), Judgement.RIGHT),
        (False, ("timeout", "timeout"), (HOLDS,), Judgement.RIGHT),
        (False, ("refused",), (HOLDS,), Judgement.RIGHT),
        (False, ("timeout", "open"), (HOLDS,), Judgement.WRONG),  # by one of two ways in
        (True, ("open", "timeout"), (HOLDS,), Judgement.WRONG),
        (True, ("open",), (BROKEN,), Judgement.UNDECIDED),  # vacuous: nothing enforces policies
        (False, ("open",), (BROKEN,), Judgement.UNDECIDED),  # the network's fault, not the policy's
        (False, ("timeout",), (HOLDS, BROKEN), Judgement.UNDECIDED),
        (False, ("error",), (HOLDS,), Judgement.UNDECIDED),
        (True, ("unresolved",), (HOLDS,), Judgement.UNDECIDED),
        (True, (), (HOLDS,), Judgement.UNDECIDED),
    ],
)
def test_judgement(expected, outcomes, controls, judgement):
    cell = Cell("backend", "Chroma", expected, outcomes, controls)
    assert cell.judge() is judgement
    assert settled([cell]) is (judgement is Judgement.RIGHT)
    assert cell.row()["judgement"] == str(judgement)


def test_a_control_without_outcome_does_not_hold():
    assert not Control("nobody asked", True, ()).holds


def test_explanation_names_what_was_seen_and_what_failed():
    cell = Cell("a stranger", "Chroma", False, ("open",), (BROKEN,))
    assert cell.explain() == ("a stranger must not reach Chroma: open; control failed: a fence keeps a stranger out")
    assert picture([cell]).startswith("?")


@given(st.booleans(), st.lists(st.sampled_from(["open", "timeout", "refused", "error"]), min_size=1, max_size=3))
def test_never_right_against_the_evidence(expected, outcomes):
    cell = Cell("s", "t", expected, tuple(outcomes), (HOLDS,))
    if cell.judge() is Judgement.RIGHT:
        assert all((outcome == "open") is expected for outcome in outcomes)
