"""A study in one ZIP file that is kept: design, key, raw answers, images, report and tables, with their checksums.

The same study gives the same bytes: names are sorted, times are 1980-01-01, and nothing is compressed, since the images
are PNGs already and other versions of zlib write other bytes. `sha256sum -c SHA256SUMS` checks an unpacked archive. The
readers' links are never read, so no token gets into it; the design has their SHA-256 alone.
"""

import contextlib
import hashlib
import pathlib
import shutil
import sqlite3
import zipfile
from collections.abc import Mapping
from urllib.parse import quote

from tfcxr.data.atomic import TEMPORARY_MARK, atomic_path
from tfcxr.reader_study.design_file import (
    ANSWERS_FILE,
    DESIGN_FILE,
    IMAGES_FOLDER,
    KEY_FILE,
    REPORT_FOLDER,
    Design,
)

ARCHIVE_FILE, SUMS_FILE = "study.zip", "SHA256SUMS"
FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest of a ZIP file
BLOCK_BYTES = 2**20


def copy_answers(folder: pathlib.Path, copy: pathlib.Path) -> None:
    """Copies the answers by SQLite's online backup, also while a server writes.

    Args:
      folder: of the study.
      copy: path of the new file.

    Raises:
      FileNotFoundError: nobody has answered.
      ValueError: a damaged file.
    """
    path = folder / ANSWERS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: nobody has answered yet; `serve` the study first")
    source = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(copy)) as target:
        try:
            source.backup(target)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} cannot be read ({error}); restore it from a copy, do not delete it") from error


def write_archive(
    folder: pathlib.Path, design: Design, path: pathlib.Path, answers: pathlib.Path, tables: Mapping[str, str]
) -> list[str]:
    """Packs a study.

    Args:
      folder: of the study.
      design: of the study.
      path: of the archive.
      answers: the copy of the raw answers, see `copy_answers`.
      tables: file name -> text.

    Returns:
      Names in the archive, sorted; the checksums stand last.

    Raises:
      FileNotFoundError: an image is missing.
      ValueError: the archive is there already, or an image was changed.
    """
    if path.exists():
        raise ValueError(f"{path} exists, and an archive is never overwritten; name another --out_dir")
    files = {name: folder / name for name in (DESIGN_FILE, KEY_FILE)} | {ANSWERS_FILE: answers}
    for image, checksum in design.image_sha256.items():
        name = f"{IMAGES_FOLDER}/{image}.png"
        files[name] = folder / name
        if not files[name].is_file():
            raise FileNotFoundError(f"{files[name]} is missing; restore it from a copy")
        if hashlib.sha256(files[name].read_bytes()).hexdigest() != checksum:
            raise ValueError(f"{files[name]} was changed after the study was designed; restore it from a copy")
    for found in (folder / REPORT_FOLDER).rglob("*"):
        if found.is_file() and TEMPORARY_MARK not in found.name:
            files[found.relative_to(folder).as_posix()] = found
    names = sorted({*files, *tables})
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        sums = ""
        for name in names:
            checksum = _add_text(archive, name, tables[name]) if name in tables else _add(archive, name, files[name])
            sums += f"{checksum}  {name}\n"
        _add_text(archive, SUMS_FILE, sums)
    return [*names, SUMS_FILE]


def _add(archive: zipfile.ZipFile, name: str, path: pathlib.Path) -> str:
    """Adds a file; returns its SHA-256, hexadecimal."""
    with path.open("rb") as source, archive.open(_entry(name), "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, BLOCK_BYTES)
    with path.open("rb") as source:
        digest = hashlib.sha256()
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _add_text(archive: zipfile.ZipFile, name: str, text: str) -> str:
    archive.writestr(_entry(name), text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, FIRST_TIME)
    entry.create_system = 3  # Unix on every machine
    entry.external_attr = 0o600 << 16  # the key is the owner's
    return entry
