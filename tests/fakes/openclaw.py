#!/usr/bin/env python3
"""A stand-in for OpenClaw, stdlib alone: named as `programs.openclaw`, one process of it is one turn.

It keeps its session in the state directory, from the user's message on, as the real one does, and answers
a call that was left open by a kill: in place of a database there is a file as Pi writes it. Named as
`programs.node` it prints that file where Dash has Node print the database. It takes over what a session
begins with (`doctor`), has the one tool `exec`, and says what Dash reads of the log and the answer of the
real one. Words in a message make it misbehave: FAKE-EXIT (it dies), FAKE-ODD (no answer); in what a session
begins with FAKE-DOCTOR does (it is not taken over).
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from pi_file import SessionFile

NOTHING = 3
DATABASE = "agents/dash/agent/openclaw-agent.sqlite"
STORE = "agents/dash/sessions"
TOOL = {"type": "function", "function": {"name": "exec", "parameters": {"type": "object"}}}


def main() -> int:
    if "--input-type=module" in sys.argv:
        return print_database(sys.argv[sys.argv.index("-") + 1])
    if "doctor" in sys.argv:
        return take_over(os.environ["OPENCLAW_STATE_DIR"])
    with open(sys.argv[sys.argv.index("--message-file") + 1]) as file:
        message = file.read()
    if "FAKE-EXIT" in message:
        os.kill(os.getpid(), 9)
    if "FAKE-ODD" in message:
        log("it was told to be odd")
        return 3
    log("[agent/embedded] embedded run agent start: runId=1")
    folder, name = os.path.split(os.path.join(os.environ["OPENCLAW_STATE_DIR"], DATABASE))
    os.makedirs(folder, exist_ok=True)
    session = SessionFile(folder, name, version=4)
    messages = session.read() or [{"role": "system", "content": "a stand-in"}]
    add(messages, session, {"role": "user", "content": message})
    try:
        answer = talk(messages, session)
    except urllib.error.HTTPError as error:
        return failed(f"{error.code} {json.loads(error.read())['error']['message']}")
    except (OSError, ValueError):
        return failed("Connection error.")
    print(json.dumps({"payloads": [{"text": answer}], "meta": {"finalAssistantVisibleText": answer}}))
    return 0


def print_database(path: str) -> int:
    if not os.path.exists(path):
        return NOTHING
    with open(path) as file:
        print(file.read(), end="")
    return 0


def take_over(state: str) -> int:
    with open(os.path.join(state, STORE, "sessions.json")) as file:
        ((key, entry),) = json.load(file).items()
    assert key == "agent:dash:main"
    begun = os.path.join(state, STORE, entry["sessionFile"])
    with open(begun) as file:
        if "FAKE-DOCTOR" in file.read():
            print(json.dumps({"issues": ["it was told not to"]}))
            return 0
    os.makedirs(os.path.dirname(os.path.join(state, DATABASE)), exist_ok=True)
    os.replace(begun, os.path.join(state, DATABASE))
    return 0


def add(messages: list[dict], session: SessionFile, message: dict) -> None:
    messages.append(message)
    session.add(message)


def talk(messages: list[dict], session: SessionFile) -> str:
    """Until the model calls no tool."""
    while True:
        said = call(messages)
        add(messages, session, said)
        calls = said.get("tool_calls") or []
        for each in calls:
            log(f"[agent/embedded] embedded run tool start: runId=1 tool=exec toolCallId={each['id']}")
            command = json.loads(each["function"]["arguments"])["command"]
            done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
            output = (done.stdout + done.stderr).decode("utf-8", "replace")
            add(messages, session, {"role": "tool", "tool_call_id": each["id"], "content": output})
        if not calls:
            return said.get("content") or ""


def call(messages: list[dict]) -> dict:
    with open(os.environ["OPENCLAW_CONFIG_PATH"]) as file:
        provider = json.load(file)["models"]["providers"]["dash"]
    body = {"model": provider["models"][0]["id"], "messages": messages, "tools": [TOOL]}
    headers = {
        "authorization": f"Bearer {os.environ['DASH_MODEL_KEY']}",
        "content-type": "application/json",
    }
    url = provider["baseUrl"] + "/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as response:
        return json.loads(response.read())["choices"][0]["message"]


def failed(raw: str) -> int:
    log(f"[agent/embedded] embedded run agent end: runId=1 isError=true error=it failed rawError={raw}")
    print(json.dumps({"ok": False, "error": {"type": "cli_error", "message": "LLM request failed"}}))
    return 1


def log(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
