"""How many floating point operations a traced function holds, and how many per second this machine can do."""

import math
import time
from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

PEAK_TRIALS = 8
PEAK_CHANNELS = 128
PEAK_MATRIX = 1536
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CONDITIONALS = ("If", "StatelessIf")
# type of an operation -> sizes whose product is its number of multiplications: of the output, and of what is summed
SIZES: dict[str, Callable[[tf.Operation], list[int | None]]] = {
    "Conv2D": lambda conv: [*conv.outputs[0].shape, *conv.inputs[1].shape[:3]],
    "Conv2DBackpropInput": lambda conv: [*conv.inputs[2].shape, *conv.inputs[1].shape[:3]],
    "Conv2DBackpropFilter": lambda conv: [*conv.inputs[2].shape, *conv.outputs[0].shape[:3]],
    "MatMul": lambda dot: [*dot.outputs[0].shape, dot.inputs[0].shape[0 if dot.get_attr("transpose_a") else 1]],
} | dict.fromkeys(
    ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"),
    lambda dot: [*dot.outputs[0].shape, dot.inputs[0].shape[-2 if dot.get_attr("adj_x") else -1]],
)


def count_flops(function: ConcreteFunction, then_shares: Mapping[str, float] | None = None) -> tuple[int, list[str]]:
    """Multiplications and additions of convolutions and matrix products; the rest of a GAN's step is below 1 %.

    Padding counts as if it were computed, as is usual.

    Args:
      function: Traced with known shapes.
      then_shares: How a conditional's name begins -> the share of calls that take its first branch (a lazy penalty);
        1 where none is given.

    Returns:
      the operations of one call, and the types of operations left out because a shape is unknown.
    """
    total, unknown = _count(function.graph, then_shares or {})
    return round(total), sorted(unknown)


def peak_flops_per_second(dtype: str) -> float:
    """What this machine reaches now in a large convolution or matrix product of "float32" or "bfloat16"."""
    shapes = [16, 32, 32, PEAK_CHANNELS], [3, 3, PEAK_CHANNELS, PEAK_CHANNELS], [PEAK_MATRIX, PEAK_MATRIX]
    image, kernel, matrix = (tf.cast(tf.random.stateless_normal(shape, [0, 1]), dtype) for shape in shapes)
    convolution = tf.function(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"))
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    convolution_flops = 2 * math.prod(shapes[0]) * 9 * PEAK_CHANNELS
    return max(_best_rate(convolution, convolution_flops), _best_rate(product, 2 * PEAK_MATRIX**3))


def _best_rate(function: Callable[[], tf.Tensor], flops: int) -> float:
    function().numpy()
    seconds = []
    for _ in range(PEAK_TRIALS):
        start = time.perf_counter()
        function()[..., 0].numpy()
        seconds.append(time.perf_counter() - start)
    return flops / min(seconds)


def _count(graph: tf.Graph, then_shares: Mapping[str, float]) -> tuple[float, set[str]]:
    total, unknown = 0.0, set()
    for operation in _operations_that_run(graph):
        parts = []
        if operation.type in CALLS:
            parts = [(1.0, operation.get_attr("f"))]
        elif operation.type in CONDITIONALS:
            own_name = operation.name.split("/")[-1]
            share = next((share for name, share in then_shares.items() if own_name.startswith(name)), 1.0)
            parts = [(share, operation.get_attr("then_branch")), (1.0 - share, operation.get_attr("else_branch"))]
        elif operation.type in SIZES:
            sizes = SIZES[operation.type](operation)
            if None in sizes:
                unknown.add(operation.type)
            else:
                total += 2 * math.prod(size for size in sizes if size is not None)
        for share, called in parts:
            flops, unknown_inside = _count(_function_graph(graph, called.name), then_shares)
            total += share * flops
            unknown |= unknown_inside
    return total, unknown


def _operations_that_run(graph: tf.Graph) -> set[tf.Operation]:
    """What the outputs and side effects need; a tape leaves gradients in the graph that nobody asked for."""
    needed, waiting = set(), [output.op for output in graph.outputs] + list(graph.control_outputs)
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return needed


def _function_graph(graph: tf.Graph, name: str) -> tf.Graph:
    while name not in graph._functions:  # a library function is held by the graph that calls it, or one around it
        graph = graph.outer_graph
    return graph._functions[name].graph
