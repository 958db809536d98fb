"""A study that is served: its design, images and answers.

The key of the study is read only where its design has staircases, whose exposures follow right and wrong answers.
"""

import hashlib
import hmac
import os
import pathlib

from tfcxr.reader_study.answers import AnswerStore
from tfcxr.reader_study.design_file import IMAGES_FOLDER, Design, read_design, read_key, token_sha256
from tfcxr.reader_study.server.session import Session


class ServedStudy:
    """Opened once; safe to share between threads.

    Attributes:
      design: of the study.
      store: its answers.
      session: what each reader sees next.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Opens the answers; every image is compared with the design's checksum.

        Raises:
          FileNotFoundError: no design, an image that is missing, or no key where staircases need it.
          ValueError: a damaged or changed study, or answers to another one.
        """
        self._images = pathlib.Path(folder) / IMAGES_FOLDER
        self.design: Design = read_design(folder)
        for image in self.design.image_sha256:
            self.image(image)
        has_staircase = any(item.is_staircase for item in self.design.items.values())
        key = read_key(folder, self.design) if has_staircase else None
        self.store = AnswerStore(folder, self.design)
        self.session = Session(self.design, self.store, key)

    def image(self, name: str) -> bytes:
        """A picture as PNG.

        Raises:
          FileNotFoundError: it is missing.
          ValueError: it was changed.
        """
        path = self._images / f"{name}.png"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; restore it from your archive")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.design.image_sha256[name]:
            raise ValueError(f"{path} was changed after the study was designed; restore it from your archive")
        return content

    def reader_of(self, token: str) -> str | None:
        """Key of the reader with this token, None for none; each wrong one takes the same time."""
        found, given = None, token_sha256(token)
        for name, reader in self.design.readers.items():
            if hmac.compare_digest(given, reader.token_sha256):
                found = name
        return found

    def is_finished(self, reader: str) -> bool:
        """Whether a reader has answered everything."""
        return len(self.store.finished_items(reader)) == len(self.design.readers[reader].items)

    @property
    def finished_readers(self) -> int:
        """How many readers have answered everything."""
        return sum(map(self.is_finished, self.design.readers))
