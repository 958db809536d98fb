"""Serves a study to this machine alone while a simulation runs."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

START_SECONDS = 30.0


@contextlib.contextmanager
def running_server(app: Any) -> Iterator[str]:
    """Serves an ASGI application on a free loopback port; yields its URL.

    Raises:
      TimeoutError: it does not start.
    """
    import uvicorn  # of the serving extra, which --server does not need

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning", access_log=False))

        def run() -> None:
            with contextlib.suppress(SystemExit):  # uvicorn's way to fail at the start
                server.run([listener])

        thread = threading.Thread(target=run, name="study", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise TimeoutError("the study's server did not start; its own message above says why")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
