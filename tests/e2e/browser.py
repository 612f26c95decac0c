"""Chromium without a window, driven over its DevTools protocol by the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# WebGL by the processor: machines that run tests have no graphics card.
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--hide-scrollbars", "--disable-background-networking",
    "--no-first-run", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One page of one browser.

    Attributes
    ----------
    requests : list of str
        Addresses that the page has asked for.
    complaints : list of str
        Errors and warnings of the console, and what was refused by the page's policy.

    """

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        # With --remote-debugging-pipe, Chromium reads commands from file 3 and answers on file 4,
        # each message ended by a zero byte.
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        shell = f'exec "$@" 3<&{commands} 4>&{answers}'
        command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._last, self._rest = 0, b""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        targets = self._ask("Target.getTargets", {}, None)["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = self._ask("Target.attachToTarget", {"targetId": page, "flatten": True}, None)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    @contextmanager
    def quiet(self, *schemes: str) -> Iterator[None]:
        """Whatever the body does, the page complains of nothing and asks no other machine."""
        self.complaints.clear()
        self.requests.clear()
        yield
        assert self.complaints == []
        assert self.requests
        assert {one.split(":")[0] for one in self.requests} <= set(schemes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._to)  # which ends the browser
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol for the page; its answer."""
        return self._ask(method, params, self._session)

    def _ask(self, method: str, params: dict[str, Any], session: str | None) -> dict[str, Any]:
        self._last += 1
        number = self._last
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == number:
                assert "error" not in heard, heard["error"]
                return dict(heard["result"])

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, said: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.complaints.append(f"{details['text']} {details.get('exception', {})}")
        elif event == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(said["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            words = [str(one.get("value", one.get("description"))) for one in said["args"]]
            self.complaints.append(" ".join(words))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, waited for where it is a promise."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, page: Path, *, width: int, dark: bool = False, phone: bool = False) -> None:
        """Open a file at a width, and wait until it is there."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=844 if phone else 900, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=page.absolute().as_uri())
        self.until(lambda: self.run("document.readyState") == "complete")

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not so after {seconds} s; said: {self.complaints}"
            time.sleep(0.05)

    def picture(self, *, whole: bool = False) -> bytes:
        """What is seen, as PNG; `whole` for all of the page."""
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])
