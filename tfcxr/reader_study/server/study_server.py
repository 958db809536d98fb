"""uvicorn in a thread, for the command and for programs that answer a study by themselves.

with StudyServer(create_app("runs/readers")) as server:
    print(server.address)
"""

import contextlib
import pathlib
import socket
import tempfile
import threading
import time
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tfcxr.server.access import Tls

START_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 75


class StudyServer:
    """Serves from its start until it is closed.

    Attributes:
      address: such as "http://127.0.0.1:8600".
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0, tls: Tls | None = None) -> None:
        """Listens, and returns once requests are answered.

        Args:
          app: see `app.create_app`.
          host: address to listen at.
          port: 0 for a free one.
          tls: None for plain connections.

        Raises:
          OSError: the address is taken or not of this machine, or the server did not start.
        """
        self._stack = contextlib.ExitStack()
        listener = self._stack.enter_context(_listen(host, port))
        shown_host = f"[{host}]" if ":" in host else host
        self.address = f"{'https' if tls else 'http'}://{shown_host}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,  # its own would close the handlers of this process
            log_level="warning",
            access_log=False,  # it would write tokens to a log
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # else anybody could name the address that wrong study keys are counted for
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            **self._tls_files(tls),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="study", daemon=True)
        self._thread.start()
        self._wait()

    def close(self) -> None:
        """Answers what runs, then stops."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        self._stack.close()

    def __enter__(self) -> "StudyServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                self.close()
                raise OSError(f"the server at {self.address} did not start within {START_SECONDS:g} s")
            time.sleep(0.01)

    def _tls_files(self, tls: Tls | None) -> dict[str, Any]:
        """Arguments of uvicorn, which reads certificates from files; the folder is readable by this user alone."""
        if tls is None:
            return {}
        folder = pathlib.Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tfcxr_tls_")))
        files = {"ssl_keyfile": tls.key, "ssl_certfile": tls.certificate}
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return {name: str(folder / name) for name in files}


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, so that asyncio turns off the delay of small packets
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror}; is another server there?") from error
    return listener
