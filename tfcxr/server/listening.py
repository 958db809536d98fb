"""Sockets and certificate files for uvicorn."""

import pathlib
import socket
from typing import Any

from tfcxr.server.access import Tls


def address_text(host: str, port: int) -> str:
    """Such as "127.0.0.1:8500" or "[::1]:8500"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int, what: str) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
      OSError: the address is taken or not of this machine; the sentence begins with `what`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, so that asyncio turns off the delay of small packets, 40 ms a request
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        address = address_text(host, port)
        raise OSError(f"{what} cannot listen on {address}: {error.strerror}; is another server there?") from error
    return listener


def tls_files(folder: pathlib.Path, tls: Tls) -> dict[str, Any]:
    """Arguments of uvicorn, which reads certificates from files; let `folder` be readable by this user alone."""
    names = {"ssl_keyfile": tls.key, "ssl_certfile": tls.certificate, "ssl_ca_certs": tls.client_authority}
    files: dict[str, Any] = {}
    for name, text in names.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
            files[name] = str(folder / name)
    return files | ({"ssl_cert_reqs": 2} if tls.client_authority else {})
