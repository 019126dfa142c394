"""Composition of everything around models: ledger, registry, exchange, and the doors that lead to them.

rows ▸ ledger recovered ▸ (fork server) ▸ secrets read ▸ agents' doors ▸ the door for programs outside
"""

import contextlib
import datetime
import logging
from collections.abc import Mapping

import trio

from dashd.clock import Clock
from dashd.config import Config, ProxyConfig
from dashd.crash_points import CrashPoints
from dashd.domain.speech import FormatName
from dashd.drivers import Driver, OpenClawDriver
from dashd.gateway_doors import GatewayKeys
from dashd.model_doors import ModelDoors
from dashd.model_ports import ModelPort, ProviderPort
from dashd.outside_door import OutsideDoor
from dashd.proxy import secrets
from dashd.proxy.exchange import Exchange
from dashd.proxy.ledger import Ledger
from dashd.proxy.offline import Billed, OfflineModel
from dashd.proxy.prices import PriceList
from dashd.proxy.rates import Limits
from dashd.proxy.registry import OFFLINE, Registry, offline_providers
from dashd.proxy.stage import THINK_S, Stage
from dashd.proxy.tunnel import Tunnels
from dashd.proxy.tunnel_records import TunnelRecords
from dashd.proxy.upstream import HttpUpstream
from dashd.store import call_bodies, insist
from dashd.store.opening import Store
from dashd.store.transaction import Operation
from dashd.wire import errors

log = logging.getLogger(__name__)

MIB = 1_048_576
DAY_MS = 86_400_000


class ModelSide:
    """Everything around models; made before the fork server runs, opened after it."""

    doors: ModelDoors
    gateways: GatewayKeys
    models: ModelPort
    outside: OutsideDoor

    def __init__(
        self, config: Config, store: Store, clock: Clock, points: CrashPoints, stage: Stage | None = None
    ) -> None:
        """`stage` is that of a demonstration."""
        self.ledger = Ledger(store)
        self._store = store
        self._clock = clock
        self._settings = config.proxy
        self._registry = Registry(
            {each.name: each for each in offline_providers()}, {}, PriceList(today=self._today)
        )
        self._stage = stage
        http = HttpUpstream()
        offline = _stand_in(points, stage)
        self._exchange = Exchange(
            self.ledger,
            self._registry,
            http=http,
            offline=offline,
            clock=clock,
            useful_tokens=config.proxy.useful_output_tokens,
        )
        files = secrets.SecretFiles(config.daemon.state_dir / "secrets")
        self.providers = ProviderPort(store, self._registry, files, http)

    def _today(self) -> datetime.date:
        return datetime.datetime.fromtimestamp(self._clock.now_ms() / 1_000, datetime.UTC).date()

    @property
    def warnings(self) -> list[str]:
        """What an operator should know and that lasts; known once it is open."""
        staged = self._stage.warning if self._stage is not None else ""
        return list(filter(None, [staged, self.outside.problem]))

    async def recover(self) -> None:
        """What a crash left open is charged."""
        await self.ledger.recover()
        await self._forget_bodies()

    async def open(self, ring: trio.Nursery, drivers: Mapping[str, Driver]) -> None:
        """Not before the fork server runs: what it forks has never seen a secret. All is served in `ring`;
        `drivers` say how their programs want to be refused, and in which formats they call.
        """
        await self.providers.open()
        self._show_stage()
        ring.start_soon(self.providers.run_commands)
        ring.start_soon(self.ledger.follow)
        store, clock, exchange = self._store, self._clock, self._exchange
        settings = self._settings
        limits = agents_limits(settings)
        tunnels = Tunnels(on_tunnel=TunnelRecords(store).note)
        styles = {name: each.refusals for name, each in drivers.items()}
        speaks = {name: each.formats for name, each in drivers.items()}
        self.doors = ModelDoors(store, clock, exchange, tunnels, ring, styles, limits, speaks)
        own = drivers[OpenClawDriver.name]
        self.gateways = GatewayKeys(store, clock, exchange, ring, own.refusals, limits, own.formats)
        self.models = ModelPort(self._registry, self._swap, exchange.waiting, self._spoken)
        self.outside = OutsideDoor(
            store, clock, exchange, ring, port=settings.port, limits=keys_limits(settings)
        )
        self._keep_bodies(ring)
        await self.outside.follow()
        ring.start_soon(self.outside.write_uses)
        ring.start_soon(self.outside.follow_swarms)
        ring.start_soon(self._exchange.reports.run, self._write)

    async def close(self) -> None:
        """When the last call has been settled: what is still to be said of them."""
        with contextlib.suppress(errors.Unavailable):
            await self._exchange.reports.flush(self._store.writer.apply)

    async def _swap(self, agent_id: str) -> None:
        await self.doors.swap(agent_id)
        await self.gateways.swap(agent_id)

    async def _spoken(self, agent_id: str) -> FormatName | None:
        return await self.doors.spoken(agent_id) or await self.gateways.spoken(agent_id)

    async def _write(self, operation: Operation[None]) -> None:
        await insist.apply(self._store.writer, operation, log.warning)

    def _show_stage(self) -> None:
        if self._stage is not None:
            real = [each.name for each in self._registry.providers.values() if each.format != OFFLINE]
            self._stage.refuse_real(real)
            self._registry.staged = True

    async def _forget_bodies(self) -> None:
        """What was kept too long goes at a start, also where nothing is kept any more."""
        before_ms = self._clock.now_ms() - round(self._settings.bodies_kept_days * DAY_MS)
        total_max = self._settings.bodies_total_mib * MIB
        if await self._store.own.read(call_bodies.count):
            await self._store.writer.apply(lambda tx: call_bodies.prune(tx, before_ms, total_max))

    def _keep_bodies(self, ring: trio.Nursery) -> None:
        settings = self._settings
        if settings.bodies == "off":
            return
        from dashd.proxy import bodies

        kept = bodies.Bodies(
            self._store,
            self._clock,
            self._registry.secrets,
            keep=settings.bodies,
            bytes_max=settings.bodies_bytes_max,
        )
        self._exchange.bodies = kept
        kept_ms = round(settings.bodies_kept_days * DAY_MS)
        ring.start_soon(kept.run, kept_ms, settings.bodies_total_mib * MIB)


def _stand_in(points: CrashPoints, stage: Stage | None) -> OfflineModel:
    if stage is None:
        return OfflineModel(billed=lambda _: points.at("proxy.billed"))

    def billed(line: Billed) -> None:
        stage.bill(line)
        points.at("proxy.billed")

    return OfflineModel(think_s=THINK_S, billed=billed, is_down=stage.is_down)


def agents_limits(proxy: ProxyConfig) -> Limits:
    """What each agent may call; in the configuration 0 is no limit."""
    return Limits(
        requests_per_minute=proxy.requests_per_minute or None,
        requests_per_day=proxy.requests_per_day or None,
        tokens_per_minute=proxy.tokens_per_minute or None,
        tokens_per_day=proxy.tokens_per_day or None,
    )


def keys_limits(proxy: ProxyConfig) -> Limits:
    """What each key may call that says nothing of it."""
    return Limits(
        requests_per_minute=proxy.key_requests_per_minute or None,
        requests_per_day=proxy.key_requests_per_day or None,
        tokens_per_minute=proxy.key_tokens_per_minute or None,
        tokens_per_day=proxy.key_tokens_per_day or None,
    )
