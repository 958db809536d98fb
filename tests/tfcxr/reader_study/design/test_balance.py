"""The orders of items: every reader sees each once, and over readers no item comes early or late."""

import itertools

import numpy as np
import pytest

from tfcxr.reader_study.design.balance import balanced_positions, items_to_repeat, reader_orders

GROUPS = {
    block: {
        "grid": [f"{block} grid {index}" for index in range(3)],
        "pair": [f"{block} pair {index}" for index in range(5)],
    }
    for block in ("Effusion", "Mass")
}


@pytest.mark.parametrize("items", [1, 2, 5, 6, 20, 21])
@pytest.mark.parametrize("readers", range(1, 10))
def test_each_reader_has_every_position_once_and_means_are_equal(items, readers):
    positions = balanced_positions(items, readers, np.random.default_rng(3))
    assert (np.sort(positions, axis=1) == np.arange(items)).all()
    deviation = np.abs(positions.mean(0) - (items - 1) / 2).max()
    if readers % 2 == 0:
        assert deviation < 1e-12
    elif readers >= 3:
        assert deviation <= (0 if items % 2 else 0.5 / readers) + 1e-12


def test_readers_start_at_different_items():
    positions = balanced_positions(20, 8, np.random.default_rng(0))
    assert len(set(positions.argmin(axis=1))) == 8


def test_items_stay_with_their_block_and_kind():
    for order in reader_orders(GROUPS, 5, np.random.default_rng(1)):
        assert sorted(order) == sorted(item for block in GROUPS.values() for items in block.values() for item in items)
        runs = [key for key, _ in itertools.groupby(item.rsplit(" ", 1)[0] for item in order)]
        assert len(runs) == 4
        assert runs[0].split()[0] == runs[1].split()[0]


def test_mean_positions_of_the_whole_order_are_equal_for_an_even_number_of_readers():
    orders = reader_orders(GROUPS, 6, np.random.default_rng(1))
    for item in orders[0]:
        assert np.mean([order.index(item) for order in orders]) == pytest.approx((len(orders[0]) - 1) / 2)


def test_blocks_without_a_kind_are_allowed():
    (order,) = reader_orders({"": {"single": ["a", "b"]}, "Mass": {"pair": ["c"]}}, 1, np.random.default_rng(0))
    assert sorted(order) == ["a", "b", "c"]


def test_repeats_are_far_from_their_first_showing():
    for seed in range(20):
        random = np.random.default_rng(seed)
        (order,) = reader_orders({"": {"grid": list("abcdef"), "pair": [f"p{i}" for i in range(20)]}}, 1, random)
        kinds = {item: "pair" if item.startswith("p") else "grid" for item in order}
        again = items_to_repeat(order, kinds, {"grid": 2, "pair": 4}, random)
        assert len(set(again)) == 6
        assert [kinds[item] for item in again].count("grid") == 2
        whole = order + again
        for place, item in enumerate(again, len(order)):
            between = whole[order.index(item) + 1 : place]
            assert sum(kinds[other] == kinds[item] for other in between) >= (3 if kinds[item] == "grid" else 10)


def test_more_than_half_of_the_items_cannot_be_repeated():
    with pytest.raises(ValueError, match=r"3 of 4 pairs cannot be seen again .* lower --repeats"):
        items_to_repeat(list("abcd"), dict.fromkeys("abcd", "pair"), {"pair": 3}, np.random.default_rng(0))
