"""`python -m tfcxr.serve` in a process of its own, for what measures it from outside."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from tfcxr.serving.client import Client
from tfcxr.serving.client_error import ClientError

MODEL = "measured"  # name of the served model
START_SECONDS = 180.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1


class ServerProcess:
    """A running server.

    Attributes:
      grpc_address: "127.0.0.1:PORT".
      rest_address: "http://127.0.0.1:PORT".
    """

    def __init__(self, process: subprocess.Popen, grpc_port: int, rest_port: int) -> None:
        self.process = process
        self.grpc_address, self.rest_address = f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}"

    def memory_mib(self) -> float:
        """Memory that the server holds now (resident set), by Linux' /proc."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def running_server(version: pathlib.Path) -> Iterator[ServerProcess]:
    """Serves the exported model of a version's folder as `MODEL` at free ports, with the server's own defaults.

    Raises:
      ChildProcessError: the server ended, or did not serve the model in time; its last lines are shown.
    """
    with contextlib.ExitStack() as opened:
        ports = [opened.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(2)]
        grpc_port, rest_port = (port.getsockname()[1] for port in ports)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        models = [f"--model_base_path={version.parent.resolve()}", f"--model_name={MODEL}"]
        command = [sys.executable, "-m", "tfcxr.serve", *models, f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            server = ServerProcess(process, grpc_port, rest_port)
            if not _is_served(server):
                log.seek(0)
                raise ChildProcessError(f"the server does not serve {version}; its last lines:\n{log.read()[-2000:]}")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_served(server: ServerProcess) -> bool:
    until = time.monotonic() + START_SECONDS
    with Client(server.grpc_address, retries=0) as client:
        while server.process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(ClientError):
                states = {version.state for version in client.status(MODEL).values()}
                if "AVAILABLE" in states or states == {"END"}:  # END: it could not be loaded
                    return "AVAILABLE" in states
            time.sleep(POLL_SECONDS)
    return False
