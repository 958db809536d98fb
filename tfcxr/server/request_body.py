"""Bodies of requests: a limit on their size, also of packed ones, before anything reads them."""

import json
import zlib
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

GZIP_WINDOW = 16 + zlib.MAX_WBITS
CODINGS = ("", "identity", "gzip")


class BodyLimit:
    """Reads and unpacks a body, and refuses one that is too large (429) or is packed otherwise than by gzip (415)."""

    def __init__(self, app: ASGIApp, max_bytes: int, on_refused: Callable[[str], None]) -> None:
        """`on_refused` is called with "request_bytes" for each body that is too large."""
        self._app, self._max_bytes, self._on_refused = app, max_bytes, on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with its whole, plain body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        coding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        refusal = None
        if coding not in CODINGS:
            refusal = 415, f"a body must be plain or gzip, got the encoding {coding!r}"
        unpacker = zlib.decompressobj(GZIP_WINDOW) if coding == "gzip" else None
        parts, size, received, more = [], 0, 0, True
        while more and received <= 2 * self._max_bytes:  # a client that still sends sees no answer
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            part, more = message.get("body", b""), message.get("more_body", False)
            received += len(part)  # also what follows the end of the gzip data
            if refusal:
                continue
            try:
                part = unpacker.decompress(part, self._max_bytes - size + 1) if unpacker else part
            except zlib.error:
                refusal = 400, "the body is not gzip, as its Content-Encoding says"
                continue
            size += len(part)
            parts.append(part)
            if max(size, received) > self._max_bytes:
                parts.clear()
                self._on_refused("request_bytes")
                refusal = 429, f"a request may have {self._max_bytes} bytes at most; send several"
        if not refusal and unpacker and not unpacker.eof:
            refusal = 400, "the body ends before its gzip data do"
        if refusal:
            await _refuse(send, *refusal)
            return
        plain = [(key, value) for key, value in scope["headers"] if key not in (b"content-encoding", b"content-length")]
        scope = {**scope, "headers": [*plain, (b"content-length", str(size).encode())]}
        body: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

        async def receive_whole() -> Message:
            return body.pop() if body else await receive()

        await self._app(scope, receive_whole, send)


async def _refuse(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": message}).encode()})
