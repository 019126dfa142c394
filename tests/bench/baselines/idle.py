"""A process that has imported trio, msgspec and apsw and waits for ever."""

import apsw  # noqa: F401
import msgspec  # noqa: F401
import trio


async def main() -> None:
    print("ready", flush=True)
    await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
