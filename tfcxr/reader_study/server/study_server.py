"""uvicorn in a thread, for the command and for programs that answer a study by themselves.

with StudyServer(create_app("runs/readers")) as server:
    print(server.address)
"""

import contextlib
import pathlib
import tempfile
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from tfcxr.server.access import Tls
from tfcxr.server.listening import address_text, listen, tls_files

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
        listener = self._stack.enter_context(listen(host, port, "the study"))
        self.address = f"{'https' if tls else 'http'}://{address_text(host, listener.getsockname()[1])}"
        files = {}
        if tls is not None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tfcxr_tls_"))
            files = tls_files(pathlib.Path(folder), tls)
        config = uvicorn.Config(
            app,
            log_config=None,  # its own would close the handlers of this process
            log_level="warning",
            access_log=False,  # it would write tokens to a log
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # else anybody could name the address that wrong study keys are counted for
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            **files,
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
