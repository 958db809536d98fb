"""Simulated readers answer a study through its HTTP interface, as browsers do.

Each reader has a client of its own: it opens the link, consents, fetches every image and checks it against the design,
and answers item by item, with a row for the click and one for the final answer. Their viewport says `"simulated": true`,
and a study that a person has begun is refused.
"""

import contextlib
import csv
import dataclasses
import hashlib
import pathlib
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from tqdm import tqdm

from tfcxr.reader_study.answers import AnswerStore
from tfcxr.reader_study.design_file import (
    ANSWERS_FILE,
    DESIGN_FILE,
    IMAGES_FOLDER,
    KEY_FILE,
    LINKS_FILE,
    Design,
    ImageOrigin,
    token_sha256,
)
from tfcxr.reader_study.reader_model import SimulatedReaders

TRIES, RETRY_SECONDS, TIMEOUT_SECONDS, START_SECONDS = 5, 0.2, 60.0, 30.0
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
        self._readers, self._design, self._key, self._seed = readers, design, key, seed
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
        request = str(uuid.uuid5(NAMES, f"{self._seed}/{self._design.checksum}/{self._reader}/{item}/{event}"))
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
                    raise ConnectionError(f"no answer from {self._client.base_url} ({error}); is it running?") from error
                time.sleep(RETRY_SECONDS * 2**number)
        if response.is_success:
            return response
        raise ValueError(
            f"the server refused {method} {path or 'of the page'} of reader {self._reader} with status "
            f"{response.status_code}: {_error_text(response)}"
        )


def simulate(
    folder: pathlib.Path,
    design: Design,
    key: Mapping[str, ImageOrigin],
    readers: SimulatedReaders,
    url: str,
    *,
    seed: str = "",
    workers: int = 8,
) -> dict[str, Visit]:
    """All readers of a study answer what is left, `workers` of them at once.

    Args:
      folder: of the study; it holds the links, and the answers afterwards.
      url: of the server, such as "http://127.0.0.1:8600".

    Returns:
      reader -> its visit; every acknowledged answer was found in the file.

    Raises:
      FileNotFoundError: no links in `folder`.
      ValueError: a person has begun the study, an answer was refused or is lost, or links of another study.
      ConnectionError: no server answers.
    """
    tokens = read_tokens(folder, design)
    refuse_people(folder, design)
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS)) for name in tokens}
        visitors = {
            name: HttpReader(clients[name], token, name, readers, design, key, seed=seed)
            for name, token in tokens.items()
        }
        done = _done(folder, design)
        for name, visitor in visitors.items():
            state = visitor.state()
            if state["done"] != len(done[name]):
                raise ValueError(
                    f"the server says that reader {name} has answered {state['done']} items, {folder} has "
                    f"{len(done[name])}; give --study_dir of the study that {url} serves"
                )
        total = sum(len(reader.items) - len(done[name]) for name, reader in design.readers.items())
        with tqdm(total=total, desc="answering", unit="item", leave=False) as bar:
            with ThreadPoolExecutor(workers) as pool:
                visits = {
                    name: pool.submit(visitor.visit, on_finished=bar.update) for name, visitor in visitors.items()
                }
                results = {name: visit.result() for name, visit in visits.items()}
    _check_nothing_is_lost(folder, design, results)
    return results


def read_tokens(folder: pathlib.Path, design: Design) -> dict[str, str]:
    """Reader -> the token of its link.

    Raises:
      FileNotFoundError: no links in `folder`.
      ValueError: a reader's link is missing, or belongs to another study.
    """
    path = folder / LINKS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; simulated readers need the readers' links, which it holds")
    with path.open(encoding="utf-8", newline="") as file:
        links = {row.get("reader"): row.get("path") or "" for row in csv.DictReader(file)}
    tokens = {name: links.get(name, "").rpartition("/")[2] for name in design.readers}
    for name, token in tokens.items():
        if token_sha256(token) != design.readers[name].token_sha256:
            raise ValueError(f"{path} has no link of reader {name} of this design; restore both together")
    return tokens


def refuse_people(folder: pathlib.Path, design: Design) -> None:
    """Makes sure that nobody but simulated readers has answered.

    Raises:
      ValueError: a row of a person.
    """
    if not (folder / ANSWERS_FILE).is_file():
        return
    with AnswerStore(folder, design) as store:
        people = sorted({row.reader for row in store.rows() if row.viewport.get("simulated") is not True})
    if people:
        raise ValueError(
            f"{folder} has answers of people ({', '.join(people)}), which simulated ones must not join; leave out "
            "--server to simulate in a copy of the study"
        )


def copy_study(folder: pathlib.Path, copy: pathlib.Path) -> None:
    """Copies a study without its answers.

    Raises:
      FileNotFoundError: no images or links in `folder`.
      ValueError: `copy` is not empty.
    """
    for name in (LINKS_FILE, IMAGES_FOLDER):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} does not exist; a simulation needs the whole study folder")
    if copy.exists() and any(copy.iterdir()):
        raise ValueError(f"{copy} is not empty; name a new folder, or leave out --out_dir to keep nothing")
    copy.mkdir(parents=True, exist_ok=True)
    for name in (DESIGN_FILE, KEY_FILE, LINKS_FILE):
        shutil.copy2(folder / name, copy / name)
    shutil.copytree(folder / IMAGES_FOLDER, copy / IMAGES_FOLDER, dirs_exist_ok=True)


@contextlib.contextmanager
def running_server(app: Any) -> Iterator[str]:
    """Serves an ASGI application on a free loopback port; yields its URL.

    Raises:
      TimeoutError: it does not start.
    """
    import uvicorn  # of the serving extra, which --server does not need

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],), name="study", daemon=True)
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


def _done(folder: pathlib.Path, design: Design) -> dict[str, set[str]]:
    if not (folder / ANSWERS_FILE).is_file():
        return {name: set() for name in design.readers}
    with AnswerStore(folder, design) as store:
        return {name: store.finished_items(name) for name in design.readers}


def _check_nothing_is_lost(folder: pathlib.Path, design: Design, visits: Mapping[str, Visit]) -> None:
    acknowledged = {request for visit in visits.values() for request in visit.requests}
    with AnswerStore(folder, design) as store:
        lost = acknowledged - {row.request for row in store.rows()}
    if lost:
        raise ValueError(f"{len(lost)} of {len(acknowledged)} acknowledged answers are not in {folder / ANSWERS_FILE}")


def _error_text(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or "no message"
