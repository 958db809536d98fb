"""What an entry of `FORMATS` is."""

import dataclasses
from collections.abc import Callable
from typing import Any

from tfcxr.porting.ported import Ported
from tfcxr.porting.reference_outputs import backbone_output


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of checkpoint.

    Attributes:
      port: checkpoint and options -> our network with its weights.
      output: ported network, inputs and the name of an output -> what is compared with the original's.
    """

    port: Callable[..., Ported]
    output: Callable[..., Any] = backbone_output
