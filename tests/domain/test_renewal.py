"""Starts of a gateway with an agent's name in them, written and read."""

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import renewal


@given(st.text(), st.integers(0, 1_000))
def test_what_is_written_is_read_again(boot_id: str, renewed: int) -> None:
    written = renewal.of(boot_id, renewed)
    assert renewal.is_in(written, boot_id)
    assert renewal.count(written, boot_id) == renewed


def test_another_start_is_another_start() -> None:
    assert not renewal.is_in("boot-10", "boot-1")
    assert not renewal.is_in("boot-10~1", "boot-1")
    assert renewal.count("boot-10~3", "boot-1") == 0
    assert renewal.count("boot-1~x", "boot-1") == 0
