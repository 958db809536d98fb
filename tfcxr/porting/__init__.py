"""Weights of published PyTorch checkpoints in our networks, without PyTorch.

A format is one file with `port(checkpoint, **options) -> Ported`, its `Format`, and one line in `FORMATS`; `checkpoint`
is what `pytorch_file.read_pytorch_file` gave. `port_file.port_file` reads, ports, compares and writes.
"""

from typing import TYPE_CHECKING

from tfcxr.registry import Registry

if TYPE_CHECKING:
    from tfcxr.porting.format import Format

FORMATS: "Registry[Format]" = Registry(
    cxr_pggan="tfcxr.porting.cxr_pggan:CXR_PGGAN",
    fb_pggan="tfcxr.porting.fb_pggan:FB_PGGAN",
    stylegan2_ada="tfcxr.porting.stylegan2_ada:STYLEGAN2_ADA",
    xrv_densenet121="tfcxr.porting.densenet:XRV_DENSENET121",
    torchvision_densenet121="tfcxr.porting.densenet:TORCHVISION_DENSENET121",
    torchvision_vgg16="tfcxr.porting.torchvision_vgg:TORCHVISION_VGG16",
    torchvision_inception_v3="tfcxr.porting.inception:TORCHVISION_INCEPTION_V3",
    pytorch_fid_inception_v3="tfcxr.porting.inception:PYTORCH_FID_INCEPTION_V3",
    efficientnet_lite="tfcxr.porting.efficientnet_lite:EFFICIENTNET_LITE",
)
