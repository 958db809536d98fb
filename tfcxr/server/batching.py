"""Runs requests, rows of several at once, with a bound on waiting, on memory and on the queue.

Requests for the same signature of the same version whose inputs differ in rows alone are joined, computed together and
taken apart again. Our models compute rows in chunks of one size, so that a picture has the same bits alone and beside
strangers' requests.
"""

import collections
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future

import grpc
import numpy as np

from tfcxr.server.firewall import copy_ratios, refusal
from tfcxr.server.servable import DEFAULT_SIGNATURE, Servable
from tfcxr.server.serving_error import ServingError, as_serving_error


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """Bounds of the queue and of a batch.

    Attributes:
      max_rows: of a batch that is computed at once.
      wait_seconds: that a request may wait for others to join it.
      max_queue: requests that wait; more are refused at once.
      threads: batches that are computed at once.
      max_request_rows: of one request; more are refused.
      joins_foreign: whether requests for models of other programs are joined too; what their rows do to each other is
        then the operator's to know.
    """

    max_rows: int = 64
    wait_seconds: float = 0.002
    max_queue: int = 256
    threads: int = 2
    max_request_rows: int = 256
    joins_foreign: bool = False


@dataclasses.dataclass(frozen=True, eq=False)  # == of arrays has no single answer
class _Request:
    servable: Servable
    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[str, ...]
    rows: int
    key: Hashable
    arrived: float
    future: Future


class Batcher:
    """A queue of requests, and threads that compute them.

    Attributes:
      on_batch: called with servable, signature, rows and requests of each batch that was computed.
      on_refused: called with "rows" or "queue", the limit that a request was over.
      on_copies: called with a model's name and how many of a request's pictures were refused as copies.
    """

    def __init__(self, options: BatchingOptions = BatchingOptions()) -> None:
        """Starts the threads."""
        self.options = options
        self.on_batch: Callable[[Servable, str, int, int], None] = lambda servable, signature, rows, requests: None
        self.on_refused: Callable[[str], None] = lambda limit: None
        self.on_copies: Callable[[str, int], None] = lambda name, count: None
        self._waiting: collections.deque[_Request] = collections.deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch_{index}", daemon=True) for index in range(options.threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def submit(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        outputs: tuple[str, ...] = (),
    ) -> "Future[dict[str, np.ndarray]]":
        """The outputs of a request, when they are computed; the servable is kept from being freed until then.

        Raises:
          ServingError: the inputs do not fit the signature; RESOURCE_EXHAUSTED, too many rows or a full queue.
        """
        signature_name = signature_name or DEFAULT_SIGNATURE
        whole = servable.complete(signature_name, inputs)
        chosen = tuple(servable.chosen_outputs(signature_name, outputs))
        rows, key = 1, None
        signature = servable.signature(signature_name)
        batched = {name: value for name, value in whole.items() if _has_rows(signature.inputs[name], value)}
        if sizes := {len(value) for value in batched.values()}:
            rows = max(sizes)
        if rows > self.options.max_request_rows:
            self.on_refused("rows")
            message = f"a request may have {self.options.max_request_rows} rows at most, got {rows}; send several"
            raise ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        joins = servable.joins_requests(signature_name, self.options.joins_foreign)
        if joins and batched and sizes == {rows} and rows:
            rest = {name: value for name, value in whole.items() if name not in batched}
            key = (
                id(servable),
                signature_name,
                tuple(sorted((name, value.shape[1:]) for name, value in batched.items())),
                tuple(sorted((name, value.shape, repr(value.tolist())) for name, value in rest.items())),
            )
        servable.__enter__()
        future: Future = Future()
        future.add_done_callback(lambda _: servable.__exit__())
        request = _Request(servable, signature_name, whole, chosen, rows, key, time.monotonic(), future)
        with self._changed:
            is_full = len(self._waiting) >= self.options.max_queue or self._is_closed
            if not is_full:
                self._waiting.append(request)
                self._changed.notify()
        if is_full:
            self.on_refused("queue")
            message = f"{self.options.max_queue} requests are waiting already; try again in a moment"
            future.set_exception(refused := ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, message))
            raise refused
        return future

    def close(self) -> None:
        """Computes what is waiting, then ends the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            batch = [request for request in batch if request.future.set_running_or_notify_cancel()]
            if batch:
                self._compute(batch)
            del batch  # an idle thread keeps no pictures and no servable

    def _next_batch(self) -> list[_Request]:
        """The oldest request and those that may join it; empty when the batcher is closed and nothing waits."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return []
                self._changed.wait()
            first = self._waiting.popleft()
            batch, rows = [first], first.rows
            if first.key is None:
                return batch
            while True:
                for request in [request for request in self._waiting if request.key == first.key]:
                    if rows + request.rows > self.options.max_rows:
                        return batch
                    self._waiting.remove(request)
                    batch.append(request)
                    rows += request.rows
                left = first.arrived + self.options.wait_seconds - time.monotonic()
                if left <= 0 or rows >= self.options.max_rows or self._is_closed:
                    return batch
                self._changed.wait(left)

    def _compute(self, batch: list[_Request]) -> None:
        """Every request of the batch gets its outputs or an error."""
        first, rows = batch[0], sum(request.rows for request in batch)
        is_single = len(batch) == 1
        try:
            wanted = tuple(dict.fromkeys(name for request in batch for name in request.outputs))
            found = first.servable.run(first.signature, first.inputs if is_single else _joined(batch), wanted)
            ratios, check = copy_ratios(first.servable, found), first.servable.copy_check
            parts = [slice(None)] if is_single else _parts(batch, found, rows)
            refusals = [
                refusal(ratios[part], check, request.inputs) if ratios is not None and check else None
                for request, part in zip(batch, parts, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - whatever a foreign model does, the next request is served
            if is_single:
                first.future.set_exception(as_serving_error(error))
            else:
                for request in batch:  # one bad request must not fail the others
                    self._compute([request])
            return
        self.on_batch(first.servable, first.signature, rows, len(batch))
        for request, part, refused in zip(batch, parts, refusals, strict=True):
            if refused:
                self.on_copies(request.servable.name, refused.copies)
                request.future.set_exception(refused)
            else:
                # copies: a slice would keep the whole batch in memory until the slowest client has read its part
                own = found if is_single else {name: found[name][part].copy() for name in request.outputs}
                request.future.set_result(own)


def _has_rows(spec: object, value: np.ndarray) -> bool:
    """Whether an input has a row per image: the signature leaves its first side open, or says nothing of its shape."""
    shape = spec.tensor_shape  # type: ignore[attr-defined]
    is_open = shape.unknown_rank or (len(shape.dim) > 0 and shape.dim[0].size == -1)
    return is_open and value.ndim > 0


def _joined(batch: list[_Request]) -> dict[str, np.ndarray]:
    first = batch[0]
    signature = first.servable.signature(first.signature)
    return {
        name: np.concatenate([request.inputs[name] for request in batch])
        if _has_rows(signature.inputs[name], value)
        else value
        for name, value in first.inputs.items()
    }


def _parts(batch: list[_Request], found: Mapping[str, np.ndarray], rows: int) -> list[slice]:
    """The rows of each request in the outputs of all."""
    if wrong := [name for name, value in found.items() if value.shape[:1] != (rows,)]:
        raise ServingError(grpc.StatusCode.INTERNAL, f"output {wrong[0]} has no row per input row")
    stops = list(itertools.accumulate(request.rows for request in batch))
    return [slice(stop - request.rows, stop) for request, stop in zip(batch, stops, strict=True)]
