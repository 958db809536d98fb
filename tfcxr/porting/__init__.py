"""Weights of published PyTorch checkpoints in our networks, without PyTorch.

A format is one file with `port(checkpoint, **options) -> Ported` and one line in `FORMATS`; `checkpoint` is what
`pytorch_file.read_pytorch_file` gave. `port_file.port_file` reads, ports, compares and writes.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from tfcxr.porting import cxr_pggan, densenet, fb_pggan, inception, stylegan2_ada, torchvision_vgg
from tfcxr.porting.ported import Ported
from tfcxr.porting.reference_outputs import backbone_output, pggan_output, stylegan_output


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of checkpoint.

    Attributes:
      port: checkpoint and options -> our network with its weights.
      output: ported network, inputs and the name of an output -> what is compared with the original's.
    """

    port: Callable[..., Ported]
    output: Callable[..., Any] = backbone_output


FORMATS: dict[str, Format] = {
    "cxr_pggan": Format(cxr_pggan.port, pggan_output),
    "fb_pggan": Format(fb_pggan.port, pggan_output),
    "stylegan2_ada": Format(stylegan2_ada.port, stylegan_output),
    "xrv_densenet121": Format(densenet.port_xrv),
    "torchvision_densenet121": Format(densenet.port_torchvision),
    "torchvision_vgg16": Format(torchvision_vgg.port),
    "torchvision_inception_v3": Format(inception.port_torchvision),
    "pytorch_fid_inception_v3": Format(inception.port_pytorch_fid, functools.partial(backbone_output, resizes=True)),
}
