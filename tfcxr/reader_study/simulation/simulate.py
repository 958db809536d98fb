"""Simulated readers answer a study through its HTTP interface, several at once; nothing is mixed with people's answers.

A study that a person has begun is refused. Afterwards, every answer that the server acknowledged is looked up in the
study's file.
"""

import contextlib
import csv
import pathlib
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

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
from tfcxr.reader_study.simulation.http_reader import HttpReader, Visit
from tfcxr.reader_study.simulation.reader_model import SimulatedReaders

TIMEOUT_SECONDS = 60.0


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
        clients = {
            name: stack.enter_context(httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False))
            for name in tokens
        }
        visitors = {
            name: HttpReader(clients[name], token, name, readers, design, key, seed=seed)
            for name, token in tokens.items()
        }
        begun = _begun(folder, design)
        for name, visitor in visitors.items():
            state = visitor.state()
            if (state["has_consented"], state["done"]) != begun[name]:
                raise ValueError(
                    f"{url} and {folder} differ in what reader {name} has answered ({state['done']} items and "
                    f"{begun[name][1]}); give --study_dir of the study that is served there"
                )
        total = sum(len(reader.items) - begun[name][1] for name, reader in design.readers.items())
        bar = stack.enter_context(tqdm(total=total, desc="answering", unit="item", leave=False))
        with ThreadPoolExecutor(workers) as pool:
            visits = {name: pool.submit(visitor.visit, on_finished=bar.update) for name, visitor in visitors.items()}
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


def _begun(folder: pathlib.Path, design: Design) -> dict[str, tuple[bool, int]]:
    """Reader -> whether there is a consent, and the number of finished items, by the study's file."""
    if not (folder / ANSWERS_FILE).is_file():
        return dict.fromkeys(design.readers, (False, 0))
    with AnswerStore(folder, design) as store:
        consented = {row.reader for row in store.rows() if row.event == "consent"}
        return {name: (name in consented, len(store.finished_items(name))) for name in design.readers}


def _check_nothing_is_lost(folder: pathlib.Path, design: Design, visits: Mapping[str, Visit]) -> None:
    acknowledged = {request for visit in visits.values() for request in visit.requests}
    with AnswerStore(folder, design) as store:
        lost = acknowledged - {row.request for row in store.rows()}
    if lost:
        raise ValueError(f"{len(lost)} of {len(acknowledged)} acknowledged answers are not in {folder / ANSWERS_FILE}")
