"""Equal content, near pictures, and what is neither."""

import cv2
import numpy as np
import pytest

from tfrecords_builder import duplicates
from tfrecords_builder.datasets.phantom import Phantom
from tfrecords_builder.duplicates import Pair, content_pairs, near_pairs, perceptual_hash


@pytest.fixture(scope="module")
def pictures():
    reader = Phantom(images=24, patients=24, image_size=128)
    return [reader.read_image(example).pixels for example in reader.examples()]


def changed(picture):
    """The same picture as other programs would store it."""
    yield cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    yield cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    yield np.clip(picture * 1.1 + 8, 0, 255).astype(np.uint8)
    yield picture.astype(np.uint16) * 257


def hashes_of(pictures):
    return np.stack([np.frombuffer(perceptual_hash(picture), np.uint8) for picture in pictures])


def test_content_pairs_name_the_first_of_each_kind():
    kinds = np.array([7, 9, 7, 0, 7, 0, 9], np.uint8)  # 0 equals nothing
    contents = np.zeros((7, 16), np.uint8)
    contents[:, 3] = kinds
    assert content_pairs(contents) == [Pair(0, 2), Pair(0, 4), Pair(1, 6)]
    contents[4, 15] = 1  # another one
    assert content_pairs(contents) == [Pair(0, 2), Pair(1, 6)]
    assert content_pairs(contents[:0]) == []


def test_content_pairs_equal_a_search_with_a_dictionary():
    random = np.random.default_rng(0)
    contents = random.integers(0, 256, (300, 16), np.uint8)[random.integers(0, 300, 2000)]
    first, expected = {}, []
    for position, row in enumerate(contents):
        if first.setdefault(row.tobytes(), position) != position:
            expected.append(Pair(first[row.tobytes()], position))
    assert content_pairs(contents) == expected and len(expected) > 1500


def test_a_changed_copy_is_near_and_another_patient_is_not(pictures):
    hashes = hashes_of(pictures)
    assert list(near_pairs(hashes)) == []
    copies = hashes_of(changed(pictures[5]))
    found = list(near_pairs(np.concatenate([hashes, copies])))
    assert [pair.second for pair in found] == list(range(len(hashes), len(hashes) + len(copies)))
    assert all(pair.first == 5 or pair.first >= len(hashes) for pair in found)


def test_pairs_are_found_across_blocks_and_equal_an_exhaustive_search(monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, (40, 256), dtype=np.uint8)
    for row, source, flips in ((9, 2, 3), (20, 2, 24), (33, 20, 1), (39, 38, 25)):
        bits[row] = bits[source]
        bits[row, random.permutation(256)[:flips]] ^= 1
    expected = []
    for second in range(40):
        distances = [(int((bits[second] != bits[first]).sum()), first) for first in range(second)]
        if distances and min(distances)[0] <= duplicates.NEAR_BITS:
            expected.append(Pair(min(distances)[1], second, min(distances)[0]))
    assert len(expected) == 3
    assert list(near_pairs(np.packbits(bits, axis=1))) == expected


def test_what_is_left_out_is_not_compared():
    same = np.zeros((4, 32), np.uint8)
    assert list(near_pairs(same, is_left_out=[1, 2])) == [Pair(0, 3, 0)]
    assert list(near_pairs(same, is_left_out=[0, 1, 2])) == []
    assert list(near_pairs(same[:0])) == []
