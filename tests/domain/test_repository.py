"""What becomes of workspaces at a swarm's end."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms


@pytest.mark.parametrize(
    ("cleanup", "succeeded", "after_s"),
    [
        ("immediate", True, 0.0),
        ("immediate", False, 0.0),
        ("on-success", True, 0.0),
        ("on-success", False, None),
        ("delayed", True, 60.0),
        ("delayed", False, 60.0),
        ("manual", True, None),
        ("manual", False, None),
    ],
)
def test_cleanup(cleanup, succeeded, after_s):
    terms = Terms("/repo", "b", cleanup=cleanup, cleanup_after_s=60.0)
    assert repository.removal_after_s(terms, succeeded=succeeded, destroyed=False) == after_s
    assert repository.removal_after_s(terms, succeeded=succeeded, destroyed=True) == 0.0


def test_terms_come_back_from_a_row():
    terms = Terms("/repo", "b", workspace="swarm", isolated=(".venv",), granted=("/other",))
    assert repository.from_json(repository.to_json(terms)) == terms


def test_whose_a_workspace_is():
    assert Terms("/r", "b").owner("s", "s-001") == "s-001"
    assert Terms("/r", "b", workspace="swarm").owner("s", "s-001") == "s"
    assert repository.branch_of("s", "s-001") == "dash/s/s-001"
    assert repository.result_branch("s") == "dash/s/result"


def test_where_a_folder_of_the_repository_is_in_a_workspace():
    terms = Terms("/r", "b")
    assert (terms.inside("/r/a/b", "/ws/one"), terms.inside("/r", "/ws/one")) == ("/ws/one/a/b", "/ws/one")
