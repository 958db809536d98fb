"""Errors that a client sees: a status code and one sentence, never a traceback or a path of this machine."""

import re
from http import HTTPStatus

import grpc
import tensorflow as tf
from absl import logging

# codes as TensorFlow Serving's REST server maps them
HTTP_STATUSES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
CODES_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
MAX_MESSAGE = 600
# where in the graph an operation failed: of no use to a client
GRAPH_PLACE = re.compile(r"\s*\[\[\{\{node .*|\s*\(defined at .*|\s*\[Op:\w+\].*", re.DOTALL)
GRAPH_START = re.compile(
    r"^(Graph execution error:\s*|Detected at node .*?<stack traces unavailable>\s*|\{\{function_node [^}]*\}\} )+",
    re.DOTALL,
)
ASSERTION = re.compile(r"^assertion failed: \[(.*)\]$", re.DOTALL)


class ServingError(Exception):
    """What a request is refused with.

    Attributes:
      code: of gRPC.
      message: one sentence.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}..."  # gRPC drops long ones
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def http_status(self) -> int:
        """The status of a REST answer."""
        return int(HTTP_STATUSES.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR))


def as_serving_error(error: BaseException) -> ServingError:
    """The error that a client sees for any exception; what is no fault of the request's goes to the log as well."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        code = CODES_BY_NUMBER.get(error.error_code, grpc.StatusCode.INTERNAL)
        text = GRAPH_START.sub("", GRAPH_PLACE.sub("", error.message)).strip()
        if found := ASSERTION.match(text):
            text = found[1].replace("] [", " ")
        if code is grpc.StatusCode.UNIMPLEMENTED or code is grpc.StatusCode.INTERNAL:
            logging.error("a model failed: %s", text)
        return ServingError(code, " ".join(text.split()))
    logging.error("a request failed: %s", error, exc_info=error)
    return ServingError(grpc.StatusCode.INTERNAL, "the server failed on this request; its log says why")


def invalid(message: str) -> ServingError:
    """A request that says something wrong."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)
