"""Says in commands what dashd says in methods: `swarm.get 7k2m9q` becomes `dashctl swarm get 7k2m9q`.

dashd's hints name methods, because every kind of client reads them. Only text for a person is reworded;
JSON has it as it came.
"""

from __future__ import annotations

_OTHER = {
    "daemon.ping": "dashctl status",
    "daemon.status": "dashctl status",
    "daemon.stop": "dashctl down",
    "event.list": "dashctl events",
    "event.wait": "dashctl events --follow",
    "event.subscribe": "dashctl events --follow",
}


def for_person(text: str) -> str:
    """`text` with the commands in place of the methods it names."""
    import re

    from dashctl import commands

    def command(found: re.Match[str]) -> str:
        noun, verb = found.group(1, 2)
        if other := _OTHER.get(found.group()):
            return other
        word = verb.replace("_", "-")
        known = noun in commands.NOUNS and word in commands.of_module(noun)
        return f"dashctl {noun} {word}" if known else found.group()

    def option(found: re.Match[str]) -> str:
        name = found["name"].replace("_", "-")
        return f"{'or ' if found['word'] == 'or' else ''}--{name} {found['value']}"

    commands_named = re.sub(r"\b([a-z]+)\.([a-z_]+)\b", command, text)
    return re.sub(r"\b(?P<word>with|or) (?P<name>[a-z_]+): (?P<value>[0-9.]+)", option, commands_named)
