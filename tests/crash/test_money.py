"""No limit is passed and no bill is missing, whatever the provider does and whenever dashd is killed.

I1, I2, I3 at every snapshot; I6, I7, I8, I9 by the provider's own bill. Ten thousand calls at the size that
`./run torture` asks for.
"""

import os
import sys

import pytest

from tests.crash.home import Home
from tests.crash.money import Plan, Run

pytestmark = [pytest.mark.crash, pytest.mark.slow]

TORTURE = int(os.environ.get("DASH_TORTURE", "0"))
CALLS = 10_000 * TORTURE // 200 if TORTURE else 320
KILLS = max(2, CALLS // 250) if TORTURE else 3
SEED = int(os.environ.get("DASH_SEED", "0"))


@pytest.mark.timeout(0)
def test_no_limit_is_passed_and_no_bill_is_missing(home: Home) -> None:
    told = Run(home, Plan(CALLS, KILLS, SEED)).run()
    sys.stderr.write(f"\n{told}\n")
    assert told.kills == KILLS
    assert told.recoveries_checked
    assert told.snapshots > 20
    assert told.billed_calls > CALLS / 4
    assert set(told.ran_out) == {"project", "swarm", "agent"}
    assert {"usage", "worst-case", "crash", "rejected"} <= set(told.bases)
