"""When a failed task is tried again, and after how long. Arithmetic; the loop is the scheduler's."""

import msgspec

DELAY_FIRST_S = 1.0
DELAY_S_MAX = 30.0
NEVER_DELAY_S_MAX = 600.0
"""Before a task whose attempts never begin is tried again. Nothing of theirs counts, so that there may be any
number of them, and each leaves rows."""
DOUBLINGS_MAX = 100
"""Past any limit, and far from what a float can hold."""
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
    return _upper_half(doubled_s(DELAY_FIRST_S, DELAY_S_MAX, number), jitter)


def never_delay_s(number: int, jitter: float, *, unlaunched: bool = False) -> float:
    """The same after attempts that never began, at most 10 min; `number` is 2 for the first delay, since once
    says nothing. Where dashd went away each time (`unlaunched`) that is no word of the place's, and at most
    30 s; not nothing, as it may be that launch which ends it.
    """
    if number <= 1:
        return 0.0
    s_max = DELAY_S_MAX if unlaunched else NEVER_DELAY_S_MAX
    return _upper_half(doubled_s(DELAY_FIRST_S, s_max, number - 1), jitter)


def doubled_s(first_s: float, s_max: float, number: int) -> float:
    """`first_s` x 2^n, at most `s_max`; `number` is 1 for the first, and may be any: counts are unbounded."""
    return min(s_max, first_s * 2.0 ** min(number - 1, DOUBLINGS_MAX))


def _upper_half(delay_s: float, jitter: float) -> float:
    return delay_s * (0.5 + jitter / 2)
