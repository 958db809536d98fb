"""A client of TensorFlow Serving and of `tfcxr.serve`, numpy in and out.

    client = Client("localhost:8500")           # gRPC
    client = Client("http://localhost:8501")    # REST
    images = client.generate("acgan", labels=["PNEUMONIA"], count=8, seed=1)  # uint8 [8, 64, 64, 1]

The images are those of `tfcxr.load("saved_models/acgan").generate(...)` with the same arguments. TensorFlow is neither
needed nor started: gRPC needs grpcio, REST httpx.
"""

import dataclasses
import io
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from tfcxr.data.conditions import UNKNOWN
from tfcxr.data.label_rows import label_and_conditions
from tfcxr.data.seeds import SEEDS_PER_COHORT
from tfcxr.registry import nearest_name
from tfcxr.serving.client_error import PASSING, ClientError
from tfcxr.serving.tensor_message import typed_array

DEFAULT_SIGNATURE, PNG = "serving_default", "png"
FIRST_WAIT = 0.1  # seconds; doubled with every further try
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version of a model on a server.

    Attributes:
      state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
      error: why it could not be loaded, "" without an error.
    """

    state: str
    error: str = ""


class Client:
    """A server's models. Threads may share a client."""

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        tls: bool | str = False,
        timeout: float = 60.0,
        retries: int = 4,
        max_images: int = 64,
    ) -> None:
        """Connects with the first request.

        Args:
          address: "HOST:PORT" or "unix:PATH" for gRPC; "http://HOST:PORT" or "https://HOST:PORT" for REST.
          token: of a server that asks for one.
          tls: over gRPC, whether the server has a certificate; or, for both, the file of the authority that vouches
            for it.
          timeout: seconds per request.
          retries: further tries when the server is busy or not there, after .1, .2, .4 ... seconds.
          max_images: per request of `generate`, which sends several where more are asked for.

        Raises:
          ValueError: an address of another form.
        """
        is_rest = address.startswith(("http://", "https://"))
        if not is_rest and not address.startswith("unix:") and not address.rpartition(":")[2].isdecimal():
            raise ValueError(f"expected HOST:PORT (gRPC) or http://HOST:PORT (REST), got {address!r}")
        if is_rest:
            from tfcxr.serving.client_rest import RestTransport

            self._transport: Any = RestTransport(address.rstrip("/"), token, tls, timeout)
        else:
            from tfcxr.serving.client_grpc import GrpcTransport

            self._transport = GrpcTransport(address, token, tls, timeout)
        self._is_rest, self._retries, self._max_images = is_rest, retries, max_images
        self._known: dict[tuple[str, int | None], dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def models(self) -> list[str]:
        """Names of the models.

        Raises:
          ClientError: the server does not list them: gRPC, and TensorFlow Serving.
        """
        return self._tried(self._transport.models)

    def status(self, name: str) -> dict[int, VersionStatus]:
        """Version -> status of a model; raises ClientError as `predict` does."""
        found = self._tried(lambda: self._transport.statuses(name), name)
        return {version: VersionStatus(state, error) for version, state, error in found}

    def predict(
        self, name: str, inputs: Mapping[str, Any], signature: str = DEFAULT_SIGNATURE, version: int | None = None
    ) -> dict[str, np.ndarray]:
        """The outputs of a model.

        Args:
          name: of the model.
          inputs: name -> array, list or number; they get the dtypes of the signature where nothing is lost by it.
          signature: its name.
          version: the newest that is available where None.

        Raises:
          ClientError: no server there, no such model, or what the server refuses the request with.
          ValueError: no such signature, or values that do not fit an input's type.
        """
        try:
            known = self._signature(name, version, signature)
            arrays = {key: typed_array(key, value, known.inputs.get(key)) for key, value in inputs.items()}
            return self._tried(lambda: self._transport.predict(name, version, signature, known, arrays), name)
        except ClientError as error:
            if error.code in ("INVALID_ARGUMENT", "NOT_FOUND"):  # another version may have come, with other inputs
                with self._lock:
                    self._known.pop((name, version), None)
            raise

    def generate(
        self,
        name: str,
        labels: Sequence[str] | str = (),
        count: int = 1,
        seed: int = 0,
        truncation: float = 1.0,
        *,
        label_names: Sequence[str] = (),
        version: int | None = None,
    ) -> np.ndarray:
        """Images of which each has all of `labels` and no other.

        Args:
          name: of a generator or cascade.
          labels: such as ["Effusion", "Cardiomegaly"]; a model of exclusive labels takes one. Conditions that the model
            reads may be among them, such as "sex=F" and "age=60".
          count: of images.
          seed: equal seeds give equal images.
          truncation: below 1 images vary less.
          label_names: of the model, in their order (its model card has them), for TensorFlow Serving, which does not
            say them.
          version: the newest that is available where None.

        Returns:
          uint8 [count, height, width, channels].

        Raises:
          ClientError: see `predict`.
          ValueError: a model that generates no images, labels that it cannot give, or count below 1.
        """
        if count < 1:
            raise ValueError(f"expected at least one image, got count={count}")
        known = self._signature(name, version, DEFAULT_SIGNATURE)
        if "seed" not in known.inputs:
            raise ValueError(f"{name} reads {', '.join(sorted(known.inputs))} and no seed, so it generates no images")
        row = self._label_row(name, version, known, labels, label_names)
        seeds = seed * SEEDS_PER_COHORT + np.arange(count, dtype=np.int64)
        return np.concatenate(
            [
                self._images(name, version, known, seeds[start : start + self._max_images], row, truncation)
                for start in range(0, count, self._max_images)
            ]
        )

    def _images(
        self, name: str, version: int | None, known: Any, seeds: np.ndarray, row: np.ndarray | None, truncation: float
    ) -> np.ndarray:
        """Images of one request; over REST as PNG files, a tenth of what lists of numbers take."""
        inputs: dict[str, Any] = {"seed": seeds}
        if row is not None:
            inputs["label"] = np.tile(row, [len(seeds), 1])
        if "truncation" in known.inputs:
            is_per_image = known.inputs["truncation"].tensor_shape.unknown_rank
            inputs["truncation"] = np.full(len(seeds) if is_per_image else (), truncation, np.float32)
        elif truncation != 1:
            raise ValueError(f"{name} has no truncation, got {truncation}")
        if self._is_rest and PNG in self._known.get((name, version), {}):
            return np.stack([_decoded(file) for file in self.predict(name, inputs, PNG, version)["png_bytes"]])
        return self.predict(name, inputs, DEFAULT_SIGNATURE, version)["image"]

    def _label_row(
        self, name: str, version: int | None, known: Any, labels: Sequence[str] | str, label_names: Sequence[str]
    ) -> np.ndarray | None:
        """float32 [labels and conditions] for the input `label`; None for a model that has none."""
        names = (labels,) if isinstance(labels, str) else tuple(labels)
        if "label" not in known.inputs:
            if names:
                raise ValueError(f"{name} makes images without labels, got {', '.join(names)}")
            return None
        said = self._tried(lambda: self._transport.description(name, version), name)
        facts: dict[str, Any] = {"label_names": label_names, "is_single_label": False}
        facts |= json.loads(said) if said else {}
        if not facts["label_names"]:
            raise ValueError(f"this server does not say the labels of {name}; give label_names=[...], as its card has")
        conditions = facts.get("condition_names", ())
        row, given = label_and_conditions("+".join(names), facts["label_names"], facts["is_single_label"], conditions)
        return np.concatenate([row, np.where(np.isnan(given), np.float32(UNKNOWN), given)])

    def _signature(self, name: str, version: int | None, signature: str) -> Any:
        with self._lock:
            known = self._known.get((name, version))
        if known is None:
            known = self._tried(lambda: self._transport.signatures(name, version), name)
            with self._lock:
                self._known[name, version] = known
        if signature not in known:
            raise ValueError(f"{name} has no signature {signature!r}; {nearest_name(signature, known)}")
        return known[signature]

    def _tried(self, request: Callable[[], Answer], name: str = "") -> Answer:
        """The answer, tried again while the server is busy; an unknown model's error says which there are."""
        for tries in range(self._retries + 1):
            try:
                return request()
            except ClientError as error:
                if error.code == "NOT_FOUND" and name:
                    raise self._unknown_model(name, error) from None
                if error.code not in PASSING or tries == self._retries:
                    raise
                time.sleep(FIRST_WAIT * 2**tries * random.uniform(0.75, 1.25))
        raise AssertionError("the last try returns or raises")

    def _unknown_model(self, name: str, error: ClientError) -> ClientError:
        try:
            names = self._transport.models()
        except ClientError:
            return ClientError(error.code, f"the server has no such model or version: {error.message}")
        if name in names:
            return error
        return ClientError(error.code, f"the server has no model {name!r}; it has {', '.join(names) or 'none yet'}")


def _decoded(file: bytes) -> np.ndarray:
    """uint8 [height, width, channels] of a PNG file."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as picture:
        image = np.asarray(picture)
    return image[..., None] if image.ndim == 2 else image
