"""Composition of service and conversations: `service.ports.Sessions` over `dashd.runtime.transcripts`."""

from collections.abc import Sequence

from dashd import threads
from dashd.domain.session_tree import NothingThere, Transcript
from dashd.drivers.driver import SessionFormat
from dashd.runtime.world import World
from dashd.wire import errors


class SessionPort:
    """`service.ports.Sessions`."""

    def __init__(self, world: World) -> None:
        """Drivers and files are the world's."""
        self._world = world

    async def live(self, driver: str, launch_id: str) -> Transcript:
        """See the port."""
        form = self._form(driver)
        try:
            data = await self._world.transcripts.live(form, launch_id)
        except NothingThere:
            raise errors.Conflict(
                "nothing was said in this session yet", hint="wait until its agent has begun"
            ) from None
        except OSError as error:
            raise errors.Unavailable(f"the session's file cannot be read: {error}") from None
        return await threads.run(form.read, data)

    async def kept(self, driver: str, checkpoint_id: str) -> Transcript:
        """See the port."""
        form = self._form(driver)
        try:
            data = await self._world.transcripts.kept(checkpoint_id)
        except OSError as error:
            raise errors.Unavailable(
                f"checkpoint {checkpoint_id} cannot be read: {error.strerror}",
                hint="somebody has removed its file from Dash's state directory",
            ) from None
        return await threads.run(form.read, data)

    async def keep(self, checkpoint_id: str, data: bytes) -> None:
        """See the port."""
        try:
            await self._world.transcripts.keep(checkpoint_id, data)
        except OSError as error:
            raise errors.Unavailable(f"no copy was made: {error.strerror}") from None

    def forget(self, checkpoint_ids: Sequence[str]) -> None:
        """See the port."""
        self._world.points.at("session.before_unlink")
        self._world.transcripts.forget(checkpoint_ids)

    def _form(self, driver: str) -> SessionFormat:
        form = self._world.drivers[driver].sessions if driver in self._world.drivers else None
        if form is None:
            able = sorted(name for name, each in self._world.drivers.items() if each.sessions is not None)
            raise errors.Unsupported(
                f"driver {driver} keeps no session that can be read: it writes none down",
                hint=f"drivers that do: {', '.join(able)}",
            )
        return form
