"""What the commands share that take one data folder beside their flags."""

import dataclasses

from tfcxr.command_line import Arguments, flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderArguments(Arguments):
    """Arguments with one data folder, given by its name alone.

    Attributes:
      folders: The data folder.
    """

    folders: tuple[str, ...] = flag((), is_positional=True)

    @property
    def data_dir(self) -> str:
        """The folder; raises ValueError unless there is one."""
        if len(self.folders) != 1:
            got = f"{len(self.folders)}: {' '.join(self.folders)}" if self.folders else "none"
            raise ValueError(f"expected one data folder, such as runs/phantom, got {got}")
        return self.folders[0]
