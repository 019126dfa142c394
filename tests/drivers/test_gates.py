"""The gates that ask from inside Pi and OpenClaw: what they ask about is what would be written."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import dashd.drivers

DRIVERS = Path(dashd.drivers.__file__).parent
NODE = shutil.which("node")
PI = """
import gate from "./pi_gate.js";
const asked = [];
let handler;
gate({ on: (_, given) => (handler = given) });
const ctx = { ui: { confirm: async (_, text) => (asked.push(JSON.parse(text).path), true) } };
for (const path of JSON.parse(process.argv[2]))
  if ((await handler({ toolName: "write", input: { path } }, ctx))?.block) asked.push(null);
console.log(JSON.stringify(asked));
"""
OPENCLAW = """
import gate from "./openclaw_gate.mjs";
import { createServer } from "node:http";
const asked = [];
const server = createServer(async (call, answer) => {
  let text = "";
  for await (const piece of call) text += piece;
  asked.push(JSON.parse(text).text);
  answer.end(JSON.stringify({ decision: "allow" }));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
process.env.DASH_ASK_URL = `http://127.0.0.1:${server.address().port}/`;
let handler;
gate.register({ on: (_, given) => (handler = given) });
for (const path of JSON.parse(process.argv[2]))
  if ((await handler({ toolName: "write", params: { path }, toolCallId: "c" }))?.block) asked.push(null);
console.log(JSON.stringify(asked));
process.exit(0);
"""
NAMES = """
import gate from "./openclaw_gate.mjs";
import { createServer } from "node:http";
const asked = [];
const server = createServer(async (call, answer) => {
  let text = "";
  for await (const piece of call) text += piece;
  asked.push(JSON.parse(text).call);
  if (asked.length === 1) return call.socket.destroy();
  answer.end(JSON.stringify({ decision: "allow" }));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
process.env.DASH_ASK_URL = `http://127.0.0.1:${server.address().port}/`;
let handler;
gate.register({ on: (_, given) => (handler = given) });
const event = { toolName: "exec", params: { command: "x" }, runId: "r", toolCallId: process.argv[2] };
for (let number = 0; number < 2; number++) await handler(event);
console.log(JSON.stringify(asked));
process.exit(0);
"""
ODD = ["@locked/a", "@/etc/a", "~/a", "~", "file:///etc/a", "FILE:a", "locked\u00a0/a", "a\u3000b"]


@pytest.mark.skipif(NODE is None, reason="there is no node on PATH")
@pytest.mark.parametrize(("gate", "script"), [("pi_gate.js", PI), ("openclaw_gate.mjs", OPENCLAW)])
def test_a_file_is_asked_about_where_it_would_be_written(gate: str, script: str, tmp_path: Path) -> None:
    work = tmp_path.resolve()
    (work / "package.json").write_text('{"type": "module"}')
    (work / gate).write_text((DRIVERS / gate).read_text())
    (work / "ask.mjs").write_text(script)
    (work / "locked").mkdir()
    (work / "alias").symlink_to("locked")
    (work / "file").symlink_to("locked/new")
    (work / "locked" / "new").write_text("")
    plain = ["locked/./a", "alias/deep/a", "file", "/etc/../x", "it's here"]
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "ask.mjs", json.dumps([*plain, *ODD])],
        cwd=work,
        env={"DASH_ASK": "path", "DASH_MODEL_KEY": "k"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    inside = [f"{work}/locked/a", f"{work}/locked/deep/a", f"{work}/locked/new", "/x", f"{work}/it's here"]
    assert json.loads(ran.stdout) == [*inside, *[None] * len(ODD)]


@pytest.mark.skipif(NODE is None, reason="there is no node on PATH")
@pytest.mark.slow
@pytest.mark.parametrize("named", ["call_0", "c" * 300])
def test_each_call_is_asked_about_under_its_own_name(named: str, tmp_path: Path) -> None:
    """Also where the model uses a name twice; a connection that is lost changes none."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "openclaw_gate.mjs").write_text((DRIVERS / "openclaw_gate.mjs").read_text())
    (tmp_path / "ask.mjs").write_text(NAMES)
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "ask.mjs", named],
        cwd=tmp_path,
        env={"DASH_ASK": "command", "DASH_MODEL_KEY": "k"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lost, again, other = json.loads(ran.stdout)
    assert lost == again != other
    assert max(map(len, (again, other))) <= 100
