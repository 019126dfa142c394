"""What every test folder shares. Fixtures that only one folder needs live in that folder's conftest."""

from hypothesis import settings

# The machine decides how long an example takes, so time is no reason to fail;
# and a run repeats the one before it.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")
