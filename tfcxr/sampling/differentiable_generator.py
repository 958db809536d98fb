"""The `latent` signature of an exported generator as a function that can be differentiated with respect to z.

A loaded signature cannot: TensorFlow (2.21) loses custom gradients that a SavedModel holds inside of a loop, and an
exported generator loops over chunks of rows. Here its graph is copied without them, so that TensorFlow's own gradients
are taken. Those of tfcxr's layers are the same numbers, computed faster.
"""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.signatures import SIGNATURES

Generate = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def differentiable_generator(model: LoadedModel) -> Generate:
    """A function of z float32 [batch, latent] and label float32 [batch, labels].

    It gives images float32 [batch, size, size, channels] in [-1, 1], the same as `generate_from_latent`. A model
    without labels ignores the label.

    Raises:
      ValueError: the model has no `latent` signature, such as a cascade.
    """
    if not model.has("generate_from_latent"):
        raise ValueError(
            f"{model.path} is a {model.description.kind} without the signature 'latent', so no z can be optimised; "
            "give a generator as python -m tfcxr.export writes it"
        )
    frozen = convert_variables_to_constants_v2(
        model.saved_model.signatures[SIGNATURES["generate_from_latent"].name], lower_control_flow=False
    )
    graph = frozen.graph.as_graph_def()
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            if node.op == "IdentityN":
                node.attr.pop("_gradient_op_type", None)
    inputs = [tensor.name.partition(":")[0] for tensor in frozen.inputs]  # "z", and "label" where it is read
    (output,) = frozen.outputs
    description = model.description

    @tf.function(autograph=False)
    def generate(z: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        values = {"z": z, "label": label}
        fed = {f"{name}:0": values[name] for name in inputs}
        (image,) = tf.graph_util.import_graph_def(graph, fed, return_elements=[output.name], name="")
        return tf.ensure_shape(image, [None, *[description.image_size] * 2, description.channels])

    return generate
