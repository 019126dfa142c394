"""A session file as Pi writes one, for its stand-in: stdlib alone, since it is run by any Python.

Messages are those of the chat format on one side, and Pi's entries on the other.
"""

import json
import os

NONE = "No result provided"


class SessionFile:
    """The one of a folder, made with the first message."""

    def __init__(
        self, folder: str, name: str = "2026-01-01T00-00-00-000Z_dash.jsonl", version: int = 3
    ) -> None:
        self.version = version
        self.path = os.path.join(folder, name)
        found = sorted(name for name in os.listdir(folder) if name.endswith("_dash.jsonl"))
        if found:
            self.path = os.path.join(folder, found[-1])
        self.leaf: str | None = None
        self.count = 0

    def read(self) -> list[dict]:
        """What an earlier process has left; a call whose tool did not come to its end has no result."""
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        assert lines[0]["cwd"] == os.getcwd(), "Pi would run in the folder that is recorded"
        entries = {entry["id"]: entry for entry in lines[1:]}
        self.leaf = lines[-1]["id"] if len(lines) > 1 else None
        self.count = len(entries)
        way, at = [], self.leaf
        while at is not None:
            way.append(entries[at]["message"])
            at = entries[at]["parentId"]
        found = [_chat(message) for message in reversed(way)]
        calls = found[-1].get("tool_calls") or () if found else ()
        return found + [{"role": "tool", "tool_call_id": call["id"], "content": NONE} for call in calls]

    def add(self, message: dict) -> None:
        """One message more, in the file before it is answered."""
        with open(self.path, "a", encoding="utf-8") as file:
            if not file.tell():
                header = {
                    "type": "session",
                    "version": self.version,
                    "id": "dash",
                    "timestamp": "2026-01-01T00:00:00.000Z",
                }
                file.write(json.dumps(header | {"cwd": os.getcwd()}) + "\n")
            self.count += 1
            entry = {
                "type": "message",
                "id": f"{self.count:08x}",
                "parentId": self.leaf,
                "timestamp": "2026-01-01T00:00:00.000Z",
                "message": _own(message),
            }
            file.write(json.dumps(entry) + "\n")
            self.leaf = entry["id"]


def _own(message: dict) -> dict:
    """As Pi has it."""
    if message["role"] == "tool":
        text = [{"type": "text", "text": message["content"]}]
        return {
            "role": "toolResult",
            "toolCallId": message["tool_call_id"],
            "toolName": "bash",
            "content": text,
        }
    if message["role"] != "assistant":
        return message
    content: list[dict] = [{"type": "text", "text": message["content"]}] if message.get("content") else []
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = json.loads(function["arguments"])
        content.append(
            {"type": "toolCall", "id": call["id"], "name": function["name"], "arguments": arguments}
        )
    return {"role": "assistant", "content": content, "stopReason": "stop"}


def _chat(message: dict) -> dict:
    """As the chat format has it."""
    if message["role"] == "toolResult":
        text = message["content"][0]["text"]
        return {"role": "tool", "tool_call_id": message["toolCallId"], "content": text}
    if message["role"] != "assistant":
        return message
    text = "".join(part["text"] for part in message["content"] if part["type"] == "text")
    calls = [
        {
            "id": part["id"],
            "type": "function",
            "function": {"name": part["name"], "arguments": json.dumps(part["arguments"])},
        }
        for part in message["content"]
        if part["type"] == "toolCall"
    ]
    found: dict = {"role": "assistant", "content": text}
    return found | {"tool_calls": calls} if calls else found
