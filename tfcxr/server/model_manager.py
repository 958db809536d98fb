"""Loads and unloads versions of models while the server runs.

A new version is available before the old one goes, a version in use is freed when its last request is answered, and one
that cannot be loaded leaves the others as they are.
"""

import contextlib
import dataclasses
import gc
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
from absl import logging

from tfcxr.server.servable import Servable
from tfcxr.server.served_models import ServedModel
from tfcxr.server.serving_error import ServingError, as_serving_error, invalid

START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"
RETIRE_SECONDS = 0.05  # between looks at versions that wait for their last request


@dataclasses.dataclass(frozen=True)
class VersionState:
    """Where a version is in its life.

    Attributes:
      state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
      error_code: name of gRPC's code, "OK" without an error.
      error_message: why it could not be loaded.
    """

    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclasses.dataclass
class _Version:
    path: pathlib.Path
    state: VersionState = VersionState(START)
    servable: Servable | None = None
    tries: int = 0
    tried_at: float = 0.0
    changed_at: float = 0.0


class ModelManager:
    """The models that are served, and their versions.

    Attributes:
      prepare: called with each version before it becomes available; where it raises, the version is not served.
      on_loaded: called with name, version and seconds.
      on_unloaded: called with name and version.
    """

    def __init__(
        self,
        models: Callable[[], Iterable[ServedModel]],
        *,
        poll_seconds: float = 1.0,
        warms_up: bool = True,
        load_retries: int = 5,
        retry_seconds: float = 60.0,
        allows_labels_of_unavailable: bool = False,
    ) -> None:
        """Loads nothing yet.

        Args:
          models: what is to be served, asked again at every poll.
          poll_seconds: between looks for new versions; 0 looks once, at the start.
          warms_up: whether warm-up requests are run before a version becomes available.
          load_retries: further tries for a version that could not be loaded.
          retry_seconds: between them.
          allows_labels_of_unavailable: whether a label may name a version that is not available.
        """
        self._models, self._poll_seconds, self._warms_up = models, poll_seconds, warms_up
        self._load_retries, self._retry_seconds = load_retries, retry_seconds
        self._allows_labels_of_unavailable = allows_labels_of_unavailable
        self._versions: dict[str, dict[int, _Version]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        self._lock, self._poll_lock = threading.Lock(), threading.Lock()
        self._stops = threading.Event()
        self._thread: threading.Thread | None = None
        self.prepare: Callable[[Servable], None] = lambda servable: None
        self.on_loaded: Callable[[str, int, float], None] = lambda name, version, seconds: None
        self.on_unloaded: Callable[[str, int], None] = lambda name, version: None

    def start(self) -> None:
        """Loads what is there, then polls in a thread of its own."""
        self.poll()
        if self._poll_seconds:
            self._thread = threading.Thread(target=self._keep_polling, name="model_manager", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Unloads everything; requests that run are answered first."""
        self._stops.set()
        if self._thread:
            self._thread.join()
        with self._poll_lock:
            for name in list(self._versions):
                self._unload(name, list(self._versions[name]))

    def apply(self, models: Iterable[ServedModel]) -> None:
        """Serves these models instead, and returns when they are loaded.

        Raises:
          ServingError: FAILED_PRECONDITION, a label of a version that is not available.
        """
        models = list(models)
        self._models = lambda: models
        self.poll()
        self._check_labels(models)

    def poll(self) -> None:
        """Looks once for models and versions that came or went."""
        with self._poll_lock:
            models = {model.name: model for model in self._models()}
            for model in models.values():
                self._refresh(model)
            for name in [name for name in self._versions if name not in models]:
                self._unload(name, list(self._versions[name]))
                with self._lock:
                    del self._versions[name]
                    self._labels.pop(name, None)

    def names(self) -> list[str]:
        """The models that have a version, in alphabetical order."""
        with self._lock:
            return sorted(name for name, versions in self._versions.items() if versions)

    @property
    def is_ready(self) -> bool:
        """Whether there are models, and each has a version that is available."""
        found = [self.states(name).values() for name in self.names()]
        return bool(found) and all(any(one.state == AVAILABLE for one in states) for states in found)

    def states(self, name: str) -> dict[int, VersionState]:
        """Version -> its state, highest first; empty for an unknown model."""
        with self._lock:
            versions = self._versions.get(name, {})
            return {number: versions[number].state for number in sorted(versions, reverse=True)}

    def version_of(self, name: str, label: str) -> int:
        """The version that a label names.

        Raises:
          ServingError: INVALID_ARGUMENT, no such label.
        """
        with self._lock:
            labels = self._labels.get(name, {})
        if label not in labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return labels[label]

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """A version for a `with` block, by default the highest that is available; it is not freed meanwhile.

        Raises:
          ServingError: INVALID_ARGUMENT, no name or an unknown label; NOT_FOUND, no such model or version.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
        if label:
            version = self.version_of(name, label)
        with self._lock:
            available = {
                number: found.servable
                for number, found in self._versions.get(name, {}).items()
                if found.state.state == AVAILABLE and found.servable
            }
            number = max(available, default=None) if version is None else version
            if number not in available:
                request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}")
            lease = contextlib.ExitStack()
            servable = lease.enter_context(available[number])  # while no other thread can retire it
        with lease:
            yield servable

    def _keep_polling(self) -> None:
        while not self._stops.wait(self._poll_seconds):
            try:
                self.poll()
            except (OSError, ValueError) as error:  # such as a configuration file that is being written
                logging.warning("models stay as they are: %s", error)
            except Exception:  # noqa: BLE001 - the thread must outlive it, else no version would appear any more
                logging.exception("models stay as they are")

    def _check_labels(self, models: Iterable[ServedModel]) -> None:
        for model in models:
            states = self.states(model.name)
            for version in model.labels.values():
                is_available = version in states and states[version].state == AVAILABLE
                if not is_available and not self._allows_labels_of_unavailable:
                    message = (
                        f"Request to assign label to version {version} of model {model.name}, which is not currently "
                        "available for inference"
                    )
                    raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)

    def _refresh(self, model: ServedModel) -> None:
        present = model.versions()
        chosen = model.policy.choose(list(present))
        with self._lock:
            versions = self._versions.setdefault(model.name, {})
            self._labels[model.name] = dict(model.labels)
            for number in chosen:
                if number not in versions or versions[number].path != present[number] and not versions[number].servable:
                    versions[number] = _Version(present[number])
        for number in chosen:
            if self._is_due(versions[number]):
                self._load(model.name, number, versions[number])
        others = [number for number, found in versions.items() if number not in chosen and found.servable]
        served = any(versions[number].servable for number in chosen)
        if served or not chosen:  # the old version stays where the new one cannot be loaded
            self._unload(model.name, others)

    def _is_due(self, version: _Version) -> bool:
        if version.servable:
            return False
        changed_at = _changed_at(version.path)
        if version.tries == 0 or changed_at != version.changed_at or version.state.error_code == "OK":
            version.tries = 0
            return True
        return version.tries <= self._load_retries and time.monotonic() - version.tried_at >= self._retry_seconds

    def _load(self, name: str, number: int, version: _Version) -> None:
        version.state = VersionState(LOADING)
        version.tries, version.tried_at, version.changed_at = (
            version.tries + 1,
            time.monotonic(),
            _changed_at(version.path),
        )
        begun = time.monotonic()
        try:
            servable = Servable(name, number, version.path)
            self.prepare(servable)
            if self._warms_up:
                servable.warm_up()
        except Exception as error:  # noqa: BLE001 - whatever a foreign SavedModel does, the server goes on
            wrong = as_serving_error(error)
            version.state = VersionState(END, wrong.code.name, wrong.message)
            logging.warning("version %d of %s is not served: %s", number, name, wrong.message)
            return
        with self._lock:
            version.servable, version.state = servable, VersionState(AVAILABLE)
        seconds = time.monotonic() - begun
        logging.info("serving version %d of %s (loaded in %.1f s)", number, name, seconds)
        self.on_loaded(name, number, seconds)

    def _unload(self, name: str, numbers: list[int]) -> None:
        versions = self._versions[name]
        leaving = {number: versions[number] for number in numbers if versions[number].servable}
        with self._lock:
            for version in leaving.values():
                version.state = VersionState(UNLOADING)
        for number, version in leaving.items():
            servable: Any = version.servable
            while not servable.retire():
                time.sleep(RETIRE_SECONDS)
            with self._lock:
                version.servable, version.state = None, VersionState(END)
            servable.free()
            logging.info("version %d of %s is unloaded", number, name)
            self.on_unloaded(name, number)
        if leaving:
            gc.collect()


def _changed_at(path: pathlib.Path) -> float:
    """When anything in it was last written; a large file of variables may come long after its folder."""
    try:
        return max(entry.stat().st_mtime for entry in (path, *path.rglob("*")))
    except (OSError, ValueError):
        return 0.0
