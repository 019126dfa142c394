"""An embedded agent that makes no calls: it tells a test its way to the model, and waits to be ended.

Its item is a file, which gets `{url, key, agent}` in one line.
"""

import json
import os
import signal


def main() -> None:
    """Tells, and waits."""
    path = json.loads(os.environ["DASH_BRIEF"])["item"]
    told = {name: os.environ[f"DASH_{name}".upper()] for name in ("model_url", "model_key", "agent")}
    with open(f"{path}.new", "w") as file:
        json.dump(told, file)
    os.replace(f"{path}.new", path)
    print('@dash {"note": "at the door"}', flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
