"""Joined requests, and their bounds."""

import threading
import time
from concurrent.futures import Future

import grpc
import numpy as np
import pytest

from tfcxr.server.batching import Batcher, BatchingOptions
from tfcxr.server.servable import Servable
from tfcxr.server.serving_error import ServingError


@pytest.fixture(scope="module", name="half")
def half_fixture(half_plus_two):
    return Servable("half_plus_two", 123, half_plus_two)


@pytest.fixture(scope="module", name="gan")
def gan_fixture(tiny_export):
    return Servable("tiny", 1, tiny_export)


@pytest.fixture(name="make_batcher")
def make_batcher_fixture():
    batchers = []

    def make(**options):
        batchers.append(Batcher(BatchingOptions(**options)))
        sizes = []
        batchers[-1].on_batch = lambda servable, signature, rows, requests: sizes.append((rows, requests))
        return batchers[-1], sizes

    yield make
    for batcher in batchers:
        batcher.close()


class Slow:
    """A servable whose requests wait until they may run."""

    def __init__(self, servable):
        self._servable, self.may_run = servable, threading.Event()

    def __getattr__(self, name):
        return getattr(self._servable, name)

    def __enter__(self):
        return self._servable.__enter__()

    def __exit__(self, *error):
        return self._servable.__exit__(*error)

    def run(self, *given):
        assert self.may_run.wait(30)
        return self._servable.run(*given)


def rows(*values):
    return {"x": np.array(values, np.float32)}


def test_requests_are_joined_and_taken_apart(half, make_batcher):
    batcher, sizes = make_batcher(threads=1, wait_seconds=1.0, max_rows=8, joins_foreign=True)
    futures = [batcher.submit(half, "", rows(*range(count))) for count in (1, 2, 5)]
    for future, count in zip(futures, (1, 2, 5), strict=True):
        np.testing.assert_array_equal(future.result(30)["y"], np.arange(count, dtype=np.float32) / 2 + 2)
    assert sizes == [(8, 3)]


def test_requests_that_cannot_be_joined_wait_beside_each_other(gan, one_hot, make_batcher):
    batcher, sizes = make_batcher(threads=1, wait_seconds=0.3)

    def given(**more):
        return {"seed": np.array([5, 6], np.int64), "label": one_hot([1, 0]), **more}

    slow = Slow(gan)
    running = batcher.submit(slow, "png", given())
    while batcher.waiting:
        time.sleep(0.001)
    values = (1.0, 0.5, 1.0, 0.5, 1.0)
    futures = [batcher.submit(gan, "", given(truncation=np.float32(value))) for value in values]
    slow.may_run.set()
    assert running.result(60)
    images = [future.result(60)["image"] for future in futures]
    assert sorted(sizes) == [(2, 1), (4, 2), (6, 3)]
    for value, image in zip(values, images, strict=True):
        np.testing.assert_array_equal(image, images[0 if value == 1.0 else 1])


def test_models_of_other_programs_are_not_joined_unasked(half, make_batcher):
    batcher, sizes = make_batcher(threads=1, wait_seconds=1.0)
    for future in [batcher.submit(half, "", rows(2.0)) for _ in range(3)]:
        np.testing.assert_array_equal(future.result(30)["y"], [3.0])
    assert sizes == [(1, 1)] * 3


def test_a_picture_has_the_same_bits_alone_and_beside_strangers(gan, one_hot, make_batcher):
    batcher, sizes = make_batcher(threads=1, wait_seconds=1.0, max_rows=6)
    alone = gan.run("", {"seed": np.array([5]), "label": one_hot([1])})["image"]
    given = [([5], [1]), ([8, 9], [0, 1]), ([1, 2, 3], [1, 1, 0])]
    futures = [
        batcher.submit(gan, "", {"seed": np.array(seeds, np.int64), "label": one_hot(labels)})
        for seeds, labels in given
    ]
    np.testing.assert_array_equal(futures[0].result(60)["image"], alone)
    for future, (seeds, labels) in zip(futures, given, strict=True):
        own = gan.run("", {"seed": np.array(seeds, np.int64), "label": one_hot(labels)})["image"]
        np.testing.assert_array_equal(future.result(60)["image"], own)
    assert sizes == [(6, 3)]


def test_scores_that_compare_images_are_never_joined(gan):
    assert gan.joins_requests("", False) and gan.joins_requests("png", False)
    assert not gan.joins_requests("score", False)


def test_other_truncation_is_another_batch(gan, one_hot, make_batcher):
    batcher, sizes = make_batcher(threads=1, wait_seconds=0.3)
    given = {"seed": np.array([5], np.int64), "label": one_hot([1])}
    futures = [batcher.submit(gan, "", given | {"truncation": np.float32(value)}) for value in (1.0, 0.5, 1.0)]
    images = [future.result(60)["image"] for future in futures]
    assert sorted(sizes) == [(1, 1), (2, 2)]
    np.testing.assert_array_equal(images[0], images[2])
    assert (images[0] != images[1]).any()


def test_one_bad_request_does_not_fail_the_others(half, make_batcher):
    batcher, _ = make_batcher(threads=1, wait_seconds=1.0, max_rows=3, joins_foreign=True)
    futures = [batcher.submit(half, "fail", rows(value)) for value in (1.0, -1.0, 2.0)]
    assert futures[0].result(30)["y"] == 1.0 and futures[2].result(30)["y"] == 2.0
    with pytest.raises(ServingError, match="^x must be above 0, got -1$") as caught:
        futures[1].result(30)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT and "node" not in caught.value.message


def test_outputs_without_rows_are_computed_one_by_one(half, make_batcher):
    batcher, _ = make_batcher(threads=1, wait_seconds=1.0, max_rows=3, joins_foreign=True)
    futures = [batcher.submit(half, "total", rows(*values)) for values in ([1.0], [2.0, 3.0])]
    assert [float(future.result(30)["sum"]) for future in futures] == [1.0, 5.0]


def test_a_full_queue_and_too_many_rows_are_refused_at_once(half, make_batcher):
    batcher, _ = make_batcher(threads=1, max_queue=2, max_request_rows=4)
    slow = Slow(half)
    running = batcher.submit(slow, "", rows(2.0))
    while batcher.waiting:
        time.sleep(0.001)
    waiting = [batcher.submit(slow, "", rows(2.0)) for _ in range(2)]
    begun = time.monotonic()
    with pytest.raises(ServingError, match="2 requests are waiting already; try again") as caught:
        batcher.submit(slow, "", rows(2.0))
    assert caught.value.http_status == 429 and time.monotonic() - begun < 1
    with pytest.raises(ServingError, match="4 rows at most, got 5; send several") as caught:
        batcher.submit(slow, "", rows(*range(5)))
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    slow.may_run.set()
    assert all(float(future.result(30)["y"][0]) == 3.0 for future in (running, *waiting))


def test_a_request_that_was_given_up_is_not_computed(half, make_batcher):
    batcher, sizes = make_batcher(threads=1)
    slow = Slow(half)
    running = batcher.submit(slow, "", rows(2.0))
    given_up: Future = batcher.submit(slow, "", rows(4.0))
    assert given_up.cancel()
    slow.may_run.set()
    running.result(30)
    assert batcher.submit(half, "", rows(6.0)).result(30)["y"] == 5.0
    assert len(sizes) == 2
