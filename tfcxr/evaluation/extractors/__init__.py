from typing import TYPE_CHECKING

from tfcxr.registry import Registry

if TYPE_CHECKING:
    from tfcxr.evaluation.extractors.architectures import Architecture

CLASSIFIERS: "Registry[Architecture]" = Registry(
    vgg16="tfcxr.evaluation.extractors.architectures:VGG16",
    densenet121="tfcxr.evaluation.extractors.architectures:DENSENET121",
    medfid="tfcxr.evaluation.extractors.architectures:MEDFID",
    small_cnn="tfcxr.evaluation.extractors.architectures:SMALL_CNN",
)
