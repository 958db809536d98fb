"""One simulated reader in front of the study's server: it does over HTTP what a browser does.

It opens the link, consents, fetches every image and checks it against the design, and answers item by item, with a row
for showing it, one for the click and one for the final answer. Its viewport says `"simulated": true`.
"""

import dataclasses
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tfcxr.reader_study.design_file import Design, ImageOrigin
from tfcxr.reader_study.simulation.reader_model import SimulatedReaders

TRIES, RETRY_SECONDS = 5, 0.2
VIEWPORT = {"width": 1920, "height": 1080, "pixel_ratio": 1.0, "zoom": 1.0, "simulated": True}
NAMES = uuid.UUID("6f0f3b0e-6a55-4c51-9d0e-3a2f6f1d2c77")  # any constant: requests of one seed have the same names


@dataclasses.dataclass(frozen=True)
class Visit:
    """One reader's way through a study.

    Attributes:
      finished: items answered in this visit.
      requests: names of the requests whose answers the server acknowledged.
    """

    finished: int
    requests: tuple[str, ...]


class HttpReader:
    """One simulated reader at a server."""

    def __init__(
        self,
        client: httpx.Client,
        token: str,
        reader: str,
        readers: SimulatedReaders,
        design: Design,
        key: Mapping[str, ImageOrigin],
        *,
        seed: str = "",
    ) -> None:
        """Takes a client whose base URL is the server's; `seed` tells the requests of one simulation from another's."""
        self._client, self._path, self._reader = client, f"/r/{token}", reader
        self._readers, self._design, self._key = readers, design, key
        self._simulation = f"{seed}/{design.checksum}/{reader}"
        self._acknowledged: list[str] = []

    def state(self) -> dict[str, Any]:
        """What the server shows this reader next.

        Raises:
          ValueError: the server refuses the link.
          ConnectionError: no server answers.
        """
        return self._ask("GET", "/state").json()

    def visit(self, *, is_complete: bool = True, on_finished: Callable[[], object] = lambda: None) -> Visit:
        """Answers all items that are left.

        Args:
          is_complete: with the page, every image and every click; without, consent and final answers alone.
          on_finished: is called after each item.

        Raises:
          ValueError: an answer is refused, an image differs from the design, or a training solution from the key.
          ConnectionError: no server answers.
        """
        if is_complete:
            self._ask("GET", "")
        state, finished = self.state(), 0
        if not state["has_consented"]:
            self._send("", "consent", {}, None)
            state = self.state()
        while (item := state["item"]) is not None:
            self._answer(item, is_complete)
            finished += 1
            on_finished()
            state = self.state()
        return Visit(finished, tuple(self._acknowledged))

    def _answer(self, shown: Mapping[str, Any], is_complete: bool) -> None:
        item, exposure = shown["item"], shown["exposure_seconds"]
        answer, seconds = self._readers.answer(self._reader, item, exposure), self._readers.seconds(self._reader, item)
        if is_complete:
            for image in shown["images"]:
                self._check_image(image)
            self._send(item, "shown", {}, exposure, 0.0)
            self._send(item, "change", answer, exposure, seconds / 2)
        solution = self._send(item, "final", answer, exposure, seconds)
        truth = [self._key[image].is_synthetic for image in self._design.items[item].images]
        if shown["is_training"] and solution is not None and solution != truth:
            raise ValueError(f"the server's solution of training item {item} is {solution}, the key says {truth}")

    def _check_image(self, image: str) -> None:
        content = self._ask("GET", f"/images/{image}.png").content
        if hashlib.sha256(content).hexdigest() != self._design.image_sha256[image]:
            raise ValueError(f"the server's image {image} is not the one of the design; does it serve another study?")

    def _send(
        self, item: str, event: str, answer: Mapping[str, Any], exposure: float | None, seconds: float | None = None
    ) -> Any:
        request = str(uuid.uuid5(NAMES, f"{self._simulation}/{item}/{event}"))
        viewport = VIEWPORT if exposure is None else VIEWPORT | {"exposure_seconds": exposure}
        content = {
            "request": request,
            "item": item,
            "event": event,
            "answer": dict(answer),
            "elapsed_seconds": seconds,
            "browser_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "tab": str(uuid.uuid5(NAMES, self._reader)),
            "viewport": viewport,
        }
        solution = self._ask("POST", "/answers", content).json()["solution"]
        self._acknowledged.append(request)
        return solution

    def _ask(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> httpx.Response:
        """Sends a request again where the connection fails: the server stores an answer once."""
        for number in range(TRIES):
            try:
                response = self._client.request(method, self._path + path, json=content)
                break
            except httpx.TransportError as error:
                if number == TRIES - 1:
                    raise ConnectionError(
                        f"no answer from {self._client.base_url} ({error}); is it running?"
                    ) from error
                time.sleep(RETRY_SECONDS * 2**number)
        if response.is_success:
            return response
        raise ValueError(
            f"the server refused {method} {path or 'of the page'} of reader {self._reader} with status "
            f"{response.status_code}: {_error_text(response)}"
        )


def _error_text(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or "no message"
