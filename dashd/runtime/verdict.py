"""What a program's end means: what its driver makes of the end of its output, or of all that was said."""

import dataclasses
from functools import partial

import trio

from dashd import threads
from dashd.domain.attempt import Ending
from dashd.jail import spool
from dashd.jail.launch_folder import ExitRecord
from dashd.store import inputs

from .journal import Journal
from .plan import Plan
from .talk import replayed
from .world import World

TRIES_MAX, AGAIN_S = 5, 1.0
"""Of reading what was printed: no descriptor may be left for a moment."""


async def judged(world: World, plan: Plan, record: ExitRecord) -> Ending:
    """By its spool and its journal, which outlive every daemon; what cannot be read is tried again for a
    while. Raises SpoolCorrupt.
    """
    for left in reversed(range(TRIES_MAX)):
        try:
            return await _judged(world, plan, record)
        except OSError as error:
            if not left:
                return Ending("failed", f"its output cannot be read, so its result is not known: {error}")
        await trio.sleep(AGAIN_S)
    raise AssertionError("the last try ends it")


async def _judged(world: World, plan: Plan, record: ExitRecord) -> Ending:
    driver, folder = world.drivers[plan.driver], world.folder(plan.launch_id)
    if (printed := driver.printed) is None:
        rows = await world.store.own.read(partial(inputs.of_launch, launch_id=plan.launch_id))
        talked = await threads.run(replayed, driver, plan.work, Journal(tuple(rows)), folder)
        assert talked is not None, "a driver talks, or it does not"
        return talked.ending(record)
    output, bytes_max = b"", printed.result_bytes_max
    if record.spool_bytes:
        output, _ = await threads.run(spool.tail, folder, bytes_max + 1, spool.STDOUT)
    ending = printed.ending(record, output[-bytes_max:])
    return dataclasses.replace(ending, result_cut=len(output) > bytes_max)
