"""When a failed task is tried again, and after how long. Arithmetic; the loop is the scheduler's."""

import msgspec

DELAY_FIRST_S = 1.0
DELAY_S_MAX = 30.0
LOST_ATTEMPTS_MAX = 10
"""A lost attempt (its holder was killed, the machine went down) says nothing about the task, so it does not
count against `retries`; but something that takes its holder with it every time must end."""


class Retry(msgspec.Struct, frozen=True):
    """The task is tried again after this delay."""

    delay_s: float


class GiveUp(msgspec.Struct, frozen=True):
    """No retry is left."""

    cause: str


def after_failure(*, failed: int, lost: int, retries: int, reason: str, jitter: float) -> Retry | GiveUp:
    """What follows a failed or lost attempt.

    `failed` and `lost` count this one too; `jitter` is in [0, 1) and spreads the delay over its upper half.
    """
    if failed > retries:
        return GiveUp(f"{reason} (attempt {failed} of {retries + 1})" if retries else reason)
    if lost > LOST_ATTEMPTS_MAX:
        return GiveUp(
            f"{reason}; lost {lost} times, which points at the machine or at the task killing its keeper"
        )
    return Retry(retry_delay_s(failed + lost, jitter))


def retry_delay_s(number: int, jitter: float) -> float:
    """1 s x 2^n, at most 30 s, the upper half of it random; `number` is 1 for the first retry."""
    delay = min(DELAY_S_MAX, DELAY_FIRST_S * 2.0 ** (number - 1))
    return delay * (0.5 + jitter / 2)
