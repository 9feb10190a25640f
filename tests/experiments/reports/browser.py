"""A headless browser that opens a page as a person does, clicks and types, and says what is on its console.

It is driven by its own debugging protocol over a pipe, so that there is nothing to install beside it.
"""

import fcntl
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH (apt-get install chromium)"
)

_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
_PATIENCE = 120
"""Seconds that an answer may take, on a busy machine."""

_COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One tab. `console` collects what the page logs, throws, or is refused by its policy."""

    def __init__(self, process: "subprocess.Popen[bytes]", commands: int, answers: int) -> None:
        self._process = process
        self._commands, self._answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb")
        self._sent = 0
        self._session: str | None = None
        self._loaded = False
        self.console: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, page: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Go to a file on disk, and wait until it is there. A narrow screen is a phone's."""
        self._loaded, self.console = False, []
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._take(self._receive())

    def ask(self, expression: str) -> Any:
        """The value of JavaScript in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, element: str) -> None:
        """Press the mouse in the middle of what a JavaScript expression finds."""
        x, y = self.ask(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press_enter(self) -> None:
        """On what has the focus."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self._call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self._call("Input.dispatchKeyEvent", type="keyUp", **key)

    def _call(self, method: str, **params: Any) -> Any:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer
                return answer["result"]
            self._take(answer)

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("method") in _COMPLAINTS:
            self.console.append(json.dumps(event["params"]))
        self._loaded |= event.get("method") == "Page.loadEventFired"

    def _receive(self) -> dict[str, Any]:
        watch = threading.Timer(_PATIENCE, self._process.kill)
        watch.start()
        content = bytearray()
        while (byte := self._answers.read(1)) not in (b"\0", b""):
            content += byte
        watch.cancel()
        assert byte, f"the browser is gone; it may have been silent for {_PATIENCE} s"
        answer: dict[str, Any] = json.loads(content)
        return answer


@contextmanager
def start(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile, until the end of the block."""
    assert BROWSER is not None
    ends = [end for _ in range(2) for end in os.pipe()]
    # the browser reads commands from 3 and writes answers to 4: its ends must not be in the way there
    reads, commands, answers, writes = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)

    def connect() -> None:
        os.dup2(reads, 3)
        os.dup2(writes, 4)

    process = subprocess.Popen(
        [BROWSER, *_QUIET, f"--user-data-dir={profile}"],
        preexec_fn=connect,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(reads)
    os.close(writes)
    try:
        yield Browser(process, commands, answers)
    finally:
        process.kill()
        process.wait()
