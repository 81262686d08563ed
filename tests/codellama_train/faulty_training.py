"""scripts/train.py, with a signal at a moment: FAULT in the environment says which, at what call, in which process.

Python announces every opening, renaming and removing of files to audit hooks, just before it happens.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import sys
from typing import Any

FAULT = json.loads(os.environ["FAULT"])
left = FAULT["count"]


def strike(event: str, arguments: tuple[Any, ...]) -> None:
    """Send the signal at the given occurrence of the event: to this process, or to the launcher and all it started."""
    global left
    if event != FAULT["event"] or not re.search(FAULT["place"], " ".join(map(str, arguments))):
        return
    left -= 1
    if left == 0:
        number = signal.Signals[FAULT["signal"]]
        if FAULT["hits"] == "all":
            os.killpg(0, number)
        else:
            os.kill(os.getpid(), number)


if os.environ["RANK"] == str(FAULT["rank"]):
    sys.addaudithook(strike)
runpy.run_path("scripts/train.py", run_name="__main__")
