"""`super_resolve`: images of any size, enlarged."""

from typing import Any

import tensorflow as tf

from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.serving.signatures.signature import Signature


class SuperResolve(Signature):
    """uint8 images -> uint8 images, `scale` times as high and wide.

    Images are enlarged two at a time and window by window: memory does not grow with them, and an image comes out the
    same alone or in any batch.
    """

    name = "serving_default"
    kinds = ("super_resolution",)
    meaning = "each image enlarged; windows overlap and leave no seams"
    values = {"image": "0 (black) to 255 (white)"}

    def inputs(self, served: Any) -> list[tf.TensorSpec]:
        return [tf.TensorSpec([None, None, None, served.model.config.channels], tf.uint8, "image")]

    def outputs(self, served: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        image = inputs["image"]
        has_pixels = tf.reduce_all(tf.shape(image)[1:3] > 0)
        message = ["image needs at least one pixel to each side, got shape", tf.shape(image)]
        with tf.control_dependencies([tf.debugging.Assert(has_pixels, message)]):
            image = tf.identity(image)
        return {"image": to_pixels(served.model.super_resolve(from_pixels(image)))}
