"""A client's way to a server over gRPC, TensorFlow Serving's or ours; it needs grpcio alone."""

import pathlib
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from tfcxr.serving.client_error import ClientError, not_reachable
from tfcxr.serving.protocol_messages import MESSAGES, STATES
from tfcxr.serving.tensor_message import array_of, tensor_message

PREDICTION, MODELS = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the default is 4 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each client
]
SIGNATURES_FIELD, DESCRIPTION_FIELD = "signature_def", "description"
NO_CONNECTION = ("failed to connect", "Socket", "DNS", "resolution", "Connection", "connections")


class GrpcTransport:
    """Sends requests over one channel, which threads may share."""

    def __init__(self, address: str, token: str, tls: bool | str, timeout: float) -> None:
        """See `tfcxr.serving.client.Client`."""
        self._address, self._timeout = address, timeout
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        if tls:
            authority = pathlib.Path(tls).read_bytes() if isinstance(tls, str) else None
            credentials = grpc.ssl_channel_credentials(authority)
            self._channel = grpc.secure_channel(address, credentials, options=OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, options=OPTIONS)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def predict(
        self, model: str, version: int | None, signature_name: str, signature: Any, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature; `inputs` have its dtypes."""
        request = MESSAGES["PredictRequest"](model_spec=_model_spec(model, version, signature_name))
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tensor_message(value))
        response = self._call(f"{PREDICTION}Predict", request, "PredictResponse")
        return {name: array_of(value) for name, value in response.outputs.items()}

    def signatures(self, model: str, version: int | None) -> dict[str, Any]:
        """Name -> `SignatureDef`."""
        found = MESSAGES["SignatureDefMap"].FromString(self._metadata_of(model, version, SIGNATURES_FIELD))
        return dict(found.signature_def)

    def description(self, model: str, version: int | None) -> str:
        """What our server says of a model, JSON; "" where the server has no such field."""
        try:
            found = MESSAGES["StringValue"].FromString(self._metadata_of(model, version, DESCRIPTION_FIELD))
        except ClientError as error:
            if error.code == "INVALID_ARGUMENT":
                return ""
            raise
        return found.value

    def statuses(self, model: str) -> list[tuple[int, str, str]]:
        """Version, state and error of each version."""
        request = MESSAGES["GetModelStatusRequest"](model_spec=_model_spec(model, None, ""))
        found = self._call(f"{MODELS}GetModelStatus", request, "GetModelStatusResponse").model_version_status
        return [(one.version, STATES.get(one.state, "UNKNOWN"), one.status.error_message) for one in found]

    def models(self) -> list[str]:
        """Raises ClientError: gRPC cannot say."""
        raise ClientError(
            "UNIMPLEMENTED",
            "a server's models are listed over REST alone, by tfcxr.serve: Client('http://HOST:8501').models()",
        )

    def _metadata_of(self, model: str, version: int | None, field: str) -> bytes:
        request = MESSAGES["GetModelMetadataRequest"](
            model_spec=_model_spec(model, version, ""), metadata_field=[field]
        )
        return self._call(f"{PREDICTION}GetModelMetadata", request, "GetModelMetadataResponse").metadata[field].value

    def _call(self, method: str, request: Any, answer: str) -> Any:
        call = self._channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES[answer].FromString,
        )
        try:
            return call(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code is grpc.StatusCode.UNAVAILABLE and any(word in details for word in NO_CONNECTION):
                raise not_reachable(self._address, details) from None
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ClientError(code.name, f"{self._address} took longer than {self._timeout:g} seconds") from None
            raise ClientError(code.name, details or f"{self._address} answered {code.name}") from None


def _model_spec(model: str, version: int | None, signature_name: str) -> Any:
    spec = MESSAGES["ModelSpec"](name=model, signature_name=signature_name)
    if version is not None:
        spec.version.value = version
    return spec
