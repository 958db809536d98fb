"""What a server, or the way to it, refuses a client's request with."""

CODES = {  # status of HTTP -> name of gRPC's code
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
PASSING = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")  # another try may go well


class ClientError(Exception):
    """A request that got no answer, or an error for an answer.

    Attributes:
      code: name of gRPC's code, such as "NOT_FOUND", also over REST.
      message: one sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def not_reachable(address: str, reason: str) -> ClientError:
    """No server answers at an address."""
    return ClientError(
        "UNAVAILABLE",
        f"no server answers at {address} ({' '.join(reason.split())[:200]}); start one by "
        "python -m tfcxr.serve --saved_models=saved_models, or check address, port and tls",
    )
