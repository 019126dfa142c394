#!/usr/bin/env python3
"""A stand-in for OpenClaw, stdlib alone: named as `programs.openclaw`, one process of it is one turn.

It keeps its session in the state directory, from the user's message on, as the real one does, and answers a
call that was left open by a kill. It has the one tool `exec`, and says what Dash reads of the log and the
answer of the real one. Words in a message make it misbehave: FAKE-EXIT (it dies), FAKE-ODD (no answer).
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

TOOL = {"type": "function", "function": {"name": "exec", "parameters": {"type": "object"}}}


def main() -> int:
    with open(sys.argv[sys.argv.index("--message-file") + 1]) as file:
        message = file.read()
    if "FAKE-EXIT" in message:
        os.kill(os.getpid(), 9)
    if "FAKE-ODD" in message:
        log("it was told to be odd")
        return 3
    log("[agent/embedded] embedded run agent start: runId=1")
    session = os.path.join(os.environ["OPENCLAW_STATE_DIR"], "session.json")
    messages = [{"role": "system", "content": "a stand-in"}]
    if os.path.exists(session):
        with open(session) as file:
            messages = json.load(file)
        for each in messages[-1].get("tool_calls") or ():
            messages.append({"role": "tool", "tool_call_id": each["id"], "content": "[no result was kept]"})
    messages.append({"role": "user", "content": message})
    keep(messages, session)
    try:
        answer = talk(messages, session)
    except urllib.error.HTTPError as error:
        return failed(f"{error.code} {json.loads(error.read())['error']['message']}")
    except (OSError, ValueError):
        return failed("Connection error.")
    keep(messages, session)
    print(json.dumps({"payloads": [{"text": answer}], "meta": {"finalAssistantVisibleText": answer}}))
    return 0


def keep(messages: list[dict], session: str) -> None:
    with open(f"{session}.new", "w") as file:
        json.dump(messages, file)
    os.replace(f"{session}.new", session)


def talk(messages: list[dict], session: str) -> str:
    """Until the model calls no tool."""
    while True:
        said = call(messages)
        messages.append(said)
        calls = said.get("tool_calls") or []
        keep(messages, session)
        for each in calls:
            log(f"[agent/embedded] embedded run tool start: runId=1 tool=exec toolCallId={each['id']}")
            command = json.loads(each["function"]["arguments"])["command"]
            done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
            output = (done.stdout + done.stderr).decode("utf-8", "replace")
            messages.append({"role": "tool", "tool_call_id": each["id"], "content": output})
            keep(messages, session)
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
