"""Counted operations against hand-computed numbers."""

import tensorflow as tf

from tfcxr.benchmarks.flop_count import count_flops, peak_flops_per_second


def test_flops_of_convolutions_products_and_gradients():
    image, kernel = tf.zeros([2, 8, 8, 3]), tf.Variable(tf.zeros([5, 5, 3, 4]))

    @tf.function
    def convolve(matrix):
        with tf.GradientTape() as tape:
            tape.watch(matrix)
            features = tf.nn.conv2d(image * matrix[0, 0], kernel, 2, "SAME")  # [2, 4, 4, 4]
            value = tf.reduce_sum(tf.square(tf.matmul(tf.reshape(features, [2, 64]), matrix)))
        return tape.gradient(value, [matrix, kernel])

    convolution, product = 2 * (2 * 4 * 4 * 4) * (5 * 5 * 3), 2 * 2 * 64 * 10
    flops, unknown = count_flops(convolve.get_concrete_function(tf.TensorSpec([64, 10])))
    assert unknown == []
    assert flops == 3 * convolution + 3 * product  # forward, gradient by input, gradient by weight


def test_operations_that_nothing_needs_are_not_counted():
    """A tape over two networks leaves the gradients of the one that was not asked for in the graph."""
    first, second = tf.Variable(tf.ones([8, 8])), tf.Variable(tf.ones([8, 8]))

    @tf.function
    def step(vector):
        with tf.GradientTape(persistent=True) as tape:
            hidden = tf.matmul(vector, first)
            total = tf.reduce_sum(tf.square(tf.matmul(hidden, second)))
        return tape.gradient(total, [second])

    flops, _ = count_flops(step.get_concrete_function(tf.TensorSpec([4, 8])))
    assert flops == 3 * (2 * 4 * 8 * 8)  # both products, and the gradient of the second by its weight


def test_a_conditional_counts_by_its_share():
    matrix = tf.ones([8, 8])

    @tf.function
    def sometimes(step):
        first = tf.cond(step % 4 == 0, lambda: matrix @ matrix @ matrix, lambda: matrix @ matrix, name="r1")
        return first, tf.cond(step % 8 == 0, lambda: matrix @ matrix, lambda: matrix, name="path_length")

    function = sometimes.get_concrete_function(tf.TensorSpec([], tf.int32))
    product = 2 * 8**3
    shares = {"r1": 0.25, "path_length": 0.125}
    assert count_flops(function, shares)[0] == (0.25 * 2 + 0.75 + 0.125) * product


def test_unknown_shapes_are_named():
    function = tf.function(lambda a: a @ a).get_concrete_function(tf.TensorSpec([None, None]))
    assert count_flops(function) == (0, ["MatMul"])


def test_the_peak_is_a_rate():
    assert peak_flops_per_second("float32") > 1e8  # any machine of this century
