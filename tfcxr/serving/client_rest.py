"""A client's way to a server over REST, TensorFlow Serving's or ours; it needs httpx alone.

Requests are in the column format, `{"inputs": {name: values}}`: it holds inputs without rows too, and names outputs
where there are several.
"""

import base64
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from google.protobuf import json_format

from tfcxr.serving.client_error import CODES, ClientError, not_reachable
from tfcxr.serving.protocol_messages import MESSAGES
from tfcxr.serving.tensor_message import array_of, numpy_type

B64 = "b64"


class RestTransport:
    """Sends requests over a pool of connections, which threads may share."""

    def __init__(self, address: str, token: str, tls: bool | str, timeout: float) -> None:
        """See `tfcxr.serving.client.Client`."""
        self._address, self._timeout = address, timeout
        self._client = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=ssl.create_default_context(cafile=tls) if isinstance(tls, str) else True,
            timeout=timeout,
            trust_env=False,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def predict(
        self, model: str, version: int | None, signature_name: str, signature: Any, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature; `inputs` have its dtypes. Inputs that are left out have its defaults."""
        whole = {name: array_of(value) for name, value in signature.defaults.items()} | dict(inputs)
        document = {"signature_name": signature_name, "inputs": {name: _listed(value) for name, value in whole.items()}}
        answer = self._send("POST", f"{_path(model, version)}:predict", json.dumps(document))["outputs"]
        outputs = signature.outputs
        named = dict(zip(outputs, [answer], strict=True)) if len(outputs) == 1 else answer
        return {name: _array(value, numpy_type(outputs[name].dtype)) for name, value in named.items()}

    def signatures(self, model: str, version: int | None) -> dict[str, Any]:
        """Name -> `SignatureDef`."""
        document = self._send("GET", f"{_path(model, version)}/metadata")["metadata"]["signature_def"]
        found = json_format.ParseDict(document, MESSAGES["SignatureDefMap"](), ignore_unknown_fields=True)
        return dict(found.signature_def)

    def description(self, model: str, version: int | None) -> str:
        """What our server says of a model, JSON; "" where the server does not say it."""
        document = self._send("GET", f"{_path(model, version)}/metadata?metadata_field=description")["metadata"]
        return document.get("description", "")

    def statuses(self, model: str) -> list[tuple[int, str, str]]:
        """Version, state and error of each version."""
        found = self._send("GET", _path(model, None))["model_version_status"]
        return [(int(one["version"]), one["state"], one["status"]["error_message"]) for one in found]

    def models(self) -> list[str]:
        """Names, of a server that lists them.

        Raises:
          ClientError: UNIMPLEMENTED, TensorFlow Serving, which does not.
        """
        try:
            return sorted({entry["name"] for entry in self._send("GET", "/page/models")["models"]})
        except ClientError as error:
            if error.code != "NOT_FOUND":
                raise
            message = f"{self._address} does not list its models, as TensorFlow Serving never does; ask status(NAME)"
            raise ClientError("UNIMPLEMENTED", message) from None

    def _send(self, method: str, path: str, body: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            answer = self._client.request(method, path, content=body, headers=headers)
        except httpx.TimeoutException:
            message = f"{self._address} took longer than {self._timeout:g} seconds"
            raise ClientError("DEADLINE_EXCEEDED", message) from None
        except httpx.TransportError as error:
            raise not_reachable(self._address, str(error)) from None
        try:
            document = answer.json()
        except ValueError:
            document = None
        if answer.is_success and isinstance(document, dict):
            return document
        said = document.get("error") if isinstance(document, dict) else None
        code = CODES.get(answer.status_code, "UNKNOWN")
        raise ClientError(code, said or f"{self._address}{path} answered {answer.status_code} and no JSON; is it ours?")


def _path(model: str, version: int | None) -> str:
    return f"/v1/models/{quote(model, safe='')}" + (f"/versions/{version}" if version is not None else "")


def _listed(value: np.ndarray) -> Any:
    """Nested lists, or a single value, as JSON has it."""
    return _packed(value.tolist()) if value.dtype == object else value.tolist()


def _packed(value: Any) -> Any:
    if isinstance(value, list):
        return [_packed(part) for part in value]
    return {B64: base64.b64encode(value if isinstance(value, bytes) else str(value).encode()).decode()}


def _array(value: Any, kind: np.dtype) -> np.ndarray:
    return np.array(_unpacked(value), kind) if kind.hasobject else np.array(value, kind)


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(part) for part in value]
    return base64.b64decode(value[B64]) if isinstance(value, dict) else value.encode()
