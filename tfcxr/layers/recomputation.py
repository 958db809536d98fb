"""Gradient checkpointing: a part of a network that forgets its inside and computes it again for the gradient.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". TensorFlow's own `tf.recompute_grad` cannot be
differentiated twice, as the gradient penalty, R1 and path length ask. Here the gradient by the inputs forgets its
inside too, and computes it again when it is differentiated. So a second derivative keeps two sets of tensors per part:
its inputs, and the gradients by its outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Tensors = Sequence[tf.Tensor]

RECOMPUTATION_ADVICE = "--set=recomputes_blocks=True, which takes longer and may need less"

LAST_GRADIENTS = "last recomputed gradients on"  # collection of a graph


@tf.autograph.experimental.do_not_convert
def recomputed(
    call: Callable[..., Any], layers: Sequence[keras.layers.Layer], *inputs: tf.Tensor, is_on: bool = True
) -> Any:
    """`call(*inputs)`, with the same values and the same first and second derivatives, and less kept for them.

    Memory is saved in graphs (`tf.function`); there, parts are computed again one at a time. Gradients reach `inputs`
    and the trainable variables of `layers`. Random numbers belong outside: other tensors that `call` refers to, such as
    noise, are the same the second time, and count as constants.

    Args:
      call: tensors of `inputs` -> a tensor, or a tuple of tensors.
      layers: all whose variables it reads.
      inputs: float tensors of any shape.
      is_on: False for a plain `call(*inputs)`.

    Raises:
      ValueError: `call` changes a variable, as dropout and batch normalization do in training.
      TypeError: `call` reads a trainable variable of none of `layers`.
    """
    if not is_on:
        return call(*inputs)
    trained = [variable for layer in layers for variable in layer.trainable_variables]
    fixed = [variable for layer in layers for variable in layer.non_trainable_variables]
    fixed_values = [tf.convert_to_tensor(variable.value) for variable in fixed]
    structure: list[Any] = []

    def compute(*tensors: tf.Tensor) -> list[tf.Tensor]:
        """Of the inputs, then the weights."""
        variables, values = [*trained, *fixed], [*tensors[len(inputs) :], *fixed_values]
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            given = [scope.get_current_value(variable) for variable in variables]
            results = call(*tensors[: len(inputs)])
            found = [scope.get_current_value(variable) for variable in variables]
        changed = [v.path for v, one, other in zip(variables, given, found, strict=True) if one is not other]
        if changed:
            raise ValueError(
                f"a part that is computed again for the gradient must change no variable, but {', '.join(changed)} "
                "changed; leave dropout and batch normalization outside of it"
            )
        structure[:] = [results]
        return tf.nest.flatten(results)

    @tf.custom_gradient
    def forgetting(*tensors: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., list[tf.Tensor]]]:
        return compute(*tensors), lambda *upstream: _gradients(compute, len(inputs), tensors, upstream)

    results = forgetting(*inputs, *(tf.convert_to_tensor(variable.value) for variable in trained))
    return tf.nest.pack_sequence_as(structure[0], tf.nest.flatten(results))


def _gradients(
    compute: Callable[..., list[tf.Tensor]], input_count: int, tensors: Tensors, upstream: Tensors
) -> list[tf.Tensor]:
    """By all tensors; those by the inputs can be differentiated again with little kept.

    Those by the weights are left as they are: nobody differentiates them, and a derivative by zeros costs as much.
    """
    gradients = _pulled_back(compute, tensors, upstream)

    def by_inputs(*arguments: tf.Tensor) -> list[tf.Tensor]:
        return _pulled_back(compute, arguments[: len(tensors)], arguments[len(tensors) :])[:input_count]

    @tf.custom_gradient
    def forgetting(*arguments: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., list[tf.Tensor]]]:
        return gradients[:input_count], lambda *second: _pulled_back(by_inputs, arguments, second)

    return [*tf.nest.flatten(forgetting(*tensors, *upstream)), *gradients[input_count:]]


def _pulled_back(compute: Callable[..., list[tf.Tensor]], tensors: Tensors, upstream: Tensors) -> list[tf.Tensor]:
    """The gradients of the results' products with `upstream`, by each of `tensors`.

    They wait for `upstream`, or the inside would be computed long before and kept, and for the ones traced before them
    on the same device, so that the insides of two parts are not held at once.
    """
    before: list[tf.Tensor] = []
    if not tf.executing_eagerly():
        graph = tf.compat.v1.get_default_graph()
        before = graph.get_collection_ref(f"{LAST_GRADIENTS} {upstream[0].device}")  # replicas do not wait
        before[:] = [tensor for tensor in before if tensor.graph is graph]  # a graph begins with its outer one's
    with tf.control_dependencies([*upstream, *before]):
        tensors = [tf.identity(tensor) for tensor in tensors]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        results = compute(*tensors)
    gradients = tape.gradient(results, tensors, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    before[:] = gradients
    return gradients
