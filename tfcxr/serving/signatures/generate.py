"""`generate`: an image for each seed and label."""

from typing import Any

import tensorflow as tf

from tfcxr.serving.signatures.signature import Signature


class Generate(Signature):
    """Seeds and labels -> uint8 images; a cascade also says which candidate each image is."""

    name = "serving_default"
    kinds = ("generator", "cascade")
    meaning = "an image for each seed and label; `truncation` below 1 makes images less varied and more typical"
    values = {
        "seed": "any whole numbers",
        "label": "0 or 1",
        "truncation": "0 to 1, one for all images or one per image; 1 where it is left out",
        "image": "0 (black) to 255 (white)",
        "realism": "0 to 1",
        "is_accepted": "true or false",
        "tries": "1 or more",
        "copy_ratio": "0 to 1000: 1 for a typical image, 1000 for a copy of a training image",
        "copies_refused": "0 or more, of the tries",
    }
    defaults = {"truncation": 1.0}

    def inputs(self, served: Any) -> list[tf.TensorSpec]:
        truncation = tf.TensorSpec(served.truncation_shape, tf.float32, "truncation")
        return [tf.TensorSpec([None], tf.int64, "seed"), *served.label_specs, truncation]

    def outputs(self, served: Any, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        label, truncation = served.checked_label(inputs, "seed"), served.checked_truncation(inputs)
        return served.images(inputs["seed"], label, truncation)
