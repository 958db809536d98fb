"""Serves a study to its readers: one link each, no account, every click kept at once.

    python -m tfcxr.reader_study serve --study_dir=runs/readers

The server listens on this machine alone. For readers at other machines give it a certificate and a study key, which
each browser is asked for once; see tfcxr/reader_study/server/README.md:

    python -m tfcxr.reader_study serve --study_dir=runs/readers --host=0.0.0.0 \\
        --tls_key=key.pem --tls_certificate=certificate.pem --study_key_file=study_key.txt

Ctrl-C stops it; readers go on where they were when it runs again.
"""

import csv
import dataclasses
import ipaddress
import pathlib
import signal
import threading
from typing import TYPE_CHECKING

from absl import logging

from tfcxr.command_line import Arguments, flag
from tfcxr.reader_study.design_file import LINKS_FILE, read_design

if TYPE_CHECKING:
    from tfcxr.reader_study.server.app import ServedStudy

EXTRA = "python -m tfcxr.reader_study serve needs the extra serving: pip install '.[serving]' in the checkout"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeStudyArguments(Arguments):
    """A study, and where it is served.

    Attributes:
      study_dir: Folder of the study, as reader_study design wrote it.
      host: Address to listen at; other than of this machine alone, it needs TLS and a study key.
      port: To listen at; 0 for a free one.
      tls_key: Private key of the certificate, PEM.
      tls_certificate: Certificate of the server and of those that vouch for it, PEM.
      study_key_file: File that holds a passphrase; each browser is asked for it once.
    """

    study_dir: str
    host: str = "127.0.0.1"
    port: int = flag(8600, minimum=0, maximum=65535)
    tls_key: str | None = None
    tls_certificate: str | None = None
    study_key_file: str | None = None


def serve(arguments: ServeStudyArguments) -> None:
    """Serves until Ctrl-C or SIGTERM; requests that run are answered first.

    Raises:
      ImportError: the extra `serving` is not installed.
      FileNotFoundError: no study, or a file that is missing.
      ValueError: a changed study, or another host without TLS and a study key.
      OSError: the address is taken.
    """
    _check_host(arguments)
    read_design(arguments.study_dir)
    try:
        from tfcxr.reader_study.server.app import create_app
        from tfcxr.reader_study.server.study_key import read_study_key
        from tfcxr.reader_study.server.study_server import StudyServer
        from tfcxr.server.access import read_tls
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}. {EXTRA}") from error

    study_key = read_study_key(arguments.study_key_file) if arguments.study_key_file else ""
    tls = read_tls(arguments.tls_key, arguments.tls_certificate)
    app = create_app(arguments.study_dir, study_key, on_finished=lambda reader: log_finished(app.state.study, reader))
    stops = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stops.set())
    with StudyServer(app, arguments.host, arguments.port, tls) as server:
        for line in link_lines(app.state.study, arguments.study_dir, server.address):
            print(line, flush=True)
        while not stops.wait(1.0):  # a wait without an end would not see the signal
            pass
        logging.info("stopping; requests that run are answered first")
    app.state.study.store.close()


def link_lines(study: "ServedStudy", study_dir: str, address: str) -> list[str]:
    """What is printed at the start: how many have finished, and each reader's link.

    Args:
      study: that is served.
      study_dir: its folder, with links.csv.
      address: of the server, such as "http://127.0.0.1:8600".
    """
    readers = study.design.readers
    done = {name: len(study.store.finished_items(name)) for name in readers}
    lines = [f"{study.design.title}: {study.finished_readers} of {len(readers)} readers have finished"]
    path = pathlib.Path(study_dir) / LINKS_FILE
    if not path.is_file():
        return [*lines, f"{path} is not there, so links are not shown; those that were given to readers work"]
    with path.open(encoding="utf-8", newline="") as file:
        links = list(csv.DictReader(file))
    for link in links:
        name = link["reader"]
        of_all = f"{done[name]} of {len(readers[name].items)}" if name in readers else "not of this study"
        lines.append("  ".join(filter(None, (name, link["group"], of_all, f"{address}{link['path']}"))))
    return lines


def log_finished(study: "ServedStudy", reader: str) -> None:
    """Says that a reader has finished, and how many have."""
    logging.info(
        "reader %s has finished; %d of %d readers have", reader, study.finished_readers, len(study.design.readers)
    )


def _check_host(arguments: ServeStudyArguments) -> None:
    if _is_loopback(arguments.host):
        return
    missing = [
        name
        for name, value in {
            "--tls_key and --tls_certificate": arguments.tls_key,
            "--study_key_file": arguments.study_key_file,
        }.items()
        if value is None
    ]
    if missing:
        raise ValueError(
            f"--host={arguments.host} lets other machines in, which needs {' and '.join(missing)}; leave --host out to "
            "serve this machine alone"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
