"""Keys: what is shown once and kept nowhere, whose budget pays, and what is refused."""

import hashlib

import pytest

from dashd.store import access_keys, budgets
from dashd.wire import errors
from tests.fakes.scene import SWARM


async def test_a_secret_is_shown_once_and_only_its_hash_is_kept(call, scene):
    made = await call("key.create", name="editor", limit_usd=2.5, limit_tokens=1_000)
    assert made.secret.startswith("dk_live_")
    assert len(made.secret) == len("dk_live_") + 43  # 256 bits in base64
    row = access_keys.get(scene.db, "editor")
    assert row.hash == hashlib.sha256(made.secret.encode()).hexdigest()
    dump = repr([list(scene.db.execute(f"SELECT * FROM {name}")) for name in TABLES])
    assert made.secret not in dump
    assert made.secret not in repr(await call("key.list"))
    node = budgets.get(scene.db, made.key.id)
    assert (node.kind, node.parent_id, node.limit_nusd, node.limit_tokens) == (
        "key", "project", 2_500_000_000, 1_000,
    )  # fmt: skip
    again = await call("key.create", name="other")
    assert again.secret != made.secret


TABLES = ("access_key", "budget", "event", "idempotency")


async def test_what_a_key_is_bound_to_is_shown(call, clock):
    made = await call("key.create", name="ci", expires_in_s=60, requests_per_minute=5, tokens_per_day=0)
    (shown,) = (await call("key.list")).keys
    assert shown == made.key
    assert (shown.state, shown.requests_per_minute, shown.tokens_per_day) == ("good", 5, 0)
    assert shown.tokens_per_minute is None
    assert shown.expires_at is not None
    clock.advance(60_000)
    assert [key.state for key in (await call("key.list")).keys] == ["expired"]
    with pytest.raises(errors.Conflict, match="has expired"):
        await call("key.rotate", key="ci")


async def test_the_last_use_is_the_door_s_where_that_is_newer_than_the_row(call, core, scene):
    made = await call("key.create", name="editor")
    uses: dict[str, int] = {}
    core.outside.last_used_ms = uses.get
    assert (await call("key.list")).keys[0].last_used_at is None
    uses[made.key.id] = 5_000
    assert (await call("key.list")).keys[0].last_used_at == "1970-01-01T00:00:05.000Z"
    scene.do(lambda tx: access_keys.used(tx, made.key.id, 7_000))
    assert (await call("key.list")).keys[0].last_used_at == "1970-01-01T00:00:07.000Z"


@pytest.mark.parametrize("name", [" ", "\0", "ed\nitor", " editor", "\u202eeditor"])
async def test_a_name_that_nobody_can_repeat_makes_no_key(call, name):
    with pytest.raises(errors.InvalidParams) as refused:
        await call("key.create", name=name)
    assert (refused.value.path, (await call("key.list")).keys) == ("name", [])


async def test_a_key_under_a_swarm_is_paid_by_it(call, scene):
    swarm_id = scene.swarm("a")
    swarm_id = getattr(swarm_id, "id", swarm_id)
    made = await call("key.create", name="helper", budget=swarm_id)
    assert (made.key.budget, budgets.get(scene.db, made.key.id).swarm_id) == (swarm_id, swarm_id)
    status = await call("budget.status", budget=made.key.id)
    assert (status.budget.kind, status.budget.parent) == ("key", swarm_id)


async def test_a_key_ends_with_the_swarm_that_pays_for_it(call, scene):
    scene.swarm("a")
    first = await call("key.create", name="helper", budget=SWARM)
    other = await call("key.create", name="other")
    await call("swarm.destroy", swarm=SWARM)
    states = {key.id: key.state for key in (await call("key.list", all=True)).keys}
    assert states == {first.key.id: "revoked", other.key.id: "good"}
    with pytest.raises(errors.SwarmEnded, match=f"swarm {SWARM} has ended"):
        await call("key.create", name="late", budget=SWARM)


async def test_a_rotated_key_has_another_secret(call, scene):
    made = await call("key.create", name="editor")
    turned = await call("key.rotate", key="editor", grace_s=60)
    assert (turned.key.id, turned.secret != made.secret) == (made.key.id, True)
    row = access_keys.get(scene.db, "editor")
    assert row.old_hash == hashlib.sha256(made.secret.encode()).hexdigest()
    await call("key.rotate", key="editor")
    assert access_keys.get(scene.db, "editor").old_hash is None


async def test_revoking_twice_changes_nothing_more(call):
    made = await call("key.create", name="editor")
    assert (await call("key.revoke", key="editor")).changed
    assert not (await call("key.revoke", key=made.key.id)).changed
    assert (await call("key.list")).keys == []
    assert [key.state for key in (await call("key.list", all=True)).keys] == ["revoked"]
    with pytest.raises(errors.Conflict, match="been revoked"):
        await call("key.rotate", key="editor")
    await call("key.create", name="editor")


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"kind": "operator", "limit_usd": 1}, errors.InvalidParams),
        ({"kind": "orchestrator", "model": "offline"}, errors.InvalidParams),
        ({"kind": "orchestrator", "tokens_per_day": 0}, errors.InvalidParams),
        ({"kind": "orchestrator", "budget": "nobody"}, errors.InvalidParams),
        ({"budget": "nobody"}, errors.NotFound),
        ({"name": "taken"}, errors.Conflict),
    ],
)
async def test_what_is_refused_leaves_nothing(call, scene, params, refused):
    await call("key.create", name="taken")
    before = scene.db.execute("SELECT count(*) FROM budget").get
    with pytest.raises(refused):
        await call("key.create", **({"name": "new"} | params))
    assert scene.db.execute("SELECT count(*) FROM budget").get == before
    assert access_keys.live_count(scene.db) == 1


async def test_a_key_s_budget_is_no_place_for_a_key(call):
    made = await call("key.create", name="editor")
    with pytest.raises(errors.InvalidParams, match="of kind key"):
        await call("key.create", name="other", budget=made.key.id)


@pytest.mark.parametrize("kind", ["operator", "orchestrator"])
async def test_a_key_that_speaks_has_no_budget_and_opens_no_port(call, scene, kind):
    made = await call("key.create", name="anna", kind=kind, expires_in_s=60)
    assert (made.key.kind, made.key.budget, made.url, made.problem) == (kind, "", "", "")
    assert budgets.find(scene.db, made.key.id) is None
    with pytest.raises(errors.Conflict, match="already"):
        await call("key.create", name="anna")
    turned = await call("key.rotate", key="anna")
    assert (turned.url, turned.secret != made.secret) == ("", True)


async def test_without_a_proxy_the_answer_says_so(call):
    made = await call("key.create", name="editor")
    assert (made.url, made.problem) == ("", "this daemon has no model proxy")
