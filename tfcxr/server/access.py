"""Who may use the server: whoever has its API token, or anybody where it has none; and certificates of TLS."""

import dataclasses
import hmac
import os
import pathlib
import ssl
import stat
import tempfile

from absl import logging

TOKEN_VARIABLE = "TFCXR_API_TOKEN"
SCHEME = "Bearer "


class Access:
    """Compares the `Authorization` of a request with the server's token, in constant time."""

    MESSAGE = "this server needs its API token: Authorization: Bearer TOKEN"

    def __init__(self, token: str = "") -> None:
        """`token` is "" for a server that everybody may use."""
        self._token = token.encode()

    @property
    def is_open(self) -> bool:
        """Whether no token is needed."""
        return not self._token

    def allows(self, authorization: str | bytes) -> bool:
        """Whether the header of a request, "Bearer TOKEN", has the token."""
        given = authorization.encode("utf-8", "replace") if isinstance(authorization, str) else authorization
        return self.is_open or hmac.compare_digest(given, SCHEME.encode() + self._token)


@dataclasses.dataclass(frozen=True)
class Tls:
    """A certificate, as texts in PEM.

    Raises:
      ValueError: texts of another form, a key with a password, or a key of another certificate.

    Attributes:
      key: private.
      certificate: of the server, and of those that vouch for it.
      client_authority: whose clients alone are let in; "" for all.
    """

    key: str
    certificate: str
    client_authority: str = ""

    def __post_init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="tfcxr_tls_") as folder:
            certificate, key = (pathlib.Path(folder, name) for name in ("certificate", "key"))
            certificate.write_text(self.certificate, encoding="utf-8")
            key.write_text(self.key, encoding="utf-8")
            try:
                context.load_cert_chain(certificate, key, password="")
                if self.client_authority:
                    context.load_verify_locations(cadata=self.client_authority)
            except ssl.SSLError as error:
                message = "expected a certificate, its key without a password, and authorities, all in PEM"
                raise ValueError(f"TLS: {message}; got {error.reason or error}") from None


def read_tls(key_file: str | None, certificate_file: str | None) -> Tls | None:
    """TLS by two files in PEM; None without any.

    Raises:
      FileNotFoundError: no such file.
      ValueError: one without the other, or what `Tls` refuses.
    """
    if (key_file is None) != (certificate_file is None):
        raise ValueError("--tls_key and --tls_certificate go together")
    if key_file is None or certificate_file is None:
        return None
    texts = []
    for path in map(pathlib.Path, (key_file, certificate_file)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; expected a file in PEM")
        texts.append(path.read_text(encoding="utf-8"))
    return Tls(*texts)


def read_access(token_file: str | os.PathLike | None) -> Access:
    """The access by a file that holds the token, or else by the environment variable TFCXR_API_TOKEN.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an empty file.
    """
    if token_file is None:
        return Access(os.environ.get(TOKEN_VARIABLE, ""))
    path = pathlib.Path(token_file)
    if not path.is_file():
        raise FileNotFoundError(f"--api_token_file={path} does not exist; expected a file that holds the token")
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        logging.warning("others may read %s; chmod 600 keeps the token to yourself", path)
    token = path.read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"--api_token_file={path} is empty; expected the token")
    return Access(token)
