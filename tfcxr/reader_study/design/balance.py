"""In which order each reader sees the items, so that no item is seen early, late, fresh or tired more than another.

Readers come in twos: the second one goes through everything in the reverse order of the first, so both together see
every item at the same mean position. Each two start elsewhere in the order. Of an odd number of readers, three share
three orders whose positions add up to nearly the same number for every item.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def balanced_positions(items: int, readers: int, random: np.random.Generator) -> np.ndarray:
    """Positions of items for each reader.

    For an even number of readers the mean position of every item over readers is exactly (items - 1) / 2. For an odd
    number from three on it differs from that by at most 1 / (2 readers), and by nothing where `items` is odd. A single
    reader has a random order.

    Args:
      items: how many there are.
      readers: how many, 1 or more.
      random: draws the order that all others are made of.

    Returns:
      int64 [readers, items]; each row holds 0 to items - 1 once.
    """
    base = random.permutation(items)
    rows: list[np.ndarray] = []
    pairs = readers // 2
    if readers % 2 and readers > 1:
        pairs -= 1
        rows += [order[base] for order in _three_orders(items)]
    elif readers % 2:
        rows.append(base)
    for pair in range(pairs):
        rotated = (base + pair * items // max(pairs, 1)) % max(items, 1)
        rows += [rotated, items - 1 - rotated]
    return np.array(rows, np.int64).reshape(readers, items)


def reader_orders(
    groups: Mapping[str, Mapping[str, Sequence[str]]], readers: int, random: np.random.Generator
) -> list[list[str]]:
    """The order of all items for each reader: blocks one after the other, in each its kinds, in each its items.

    The order of blocks, of kinds and of items are each balanced over readers by `balanced_positions`. Within a two of
    readers the whole order is reversed, so for an even number of readers the mean position of every item is exactly
    that of the middle.

    Args:
      groups: block -> kind -> keys of items. Blocks need not have the same kinds.
      readers: how many.
      random: draws the orders.

    Returns:
      for each reader the keys of all items.
    """
    blocks = list(groups)
    kinds = list(dict.fromkeys(kind for block in blocks for kind in groups[block]))
    block_positions = balanced_positions(len(blocks), readers, random)
    kind_positions = balanced_positions(len(kinds), readers, random)
    item_positions = {
        (block, kind): balanced_positions(len(items), readers, random)
        for block in blocks
        for kind, items in groups[block].items()
    }
    orders: list[list[str]] = []
    for reader in range(readers):
        order: list[str] = []
        for block in np.argsort(block_positions[reader]):
            for kind in np.argsort(kind_positions[reader]):
                place = blocks[block], kinds[kind]
                if place in item_positions:
                    items = groups[place[0]][place[1]]
                    order += [items[item] for item in np.argsort(item_positions[place][reader])]
        orders.append(order)
    return orders


def items_to_repeat(
    order: Sequence[str], kinds: Mapping[str, str], counts: Mapping[str, int], random: np.random.Generator
) -> list[str]:
    """Which items a reader sees again at the end of the study.

    They are drawn from the first half of the reader's items of each kind and come in the order of their first showing,
    so at least half as many other items of the kind as there are lie between both showings.

    Args:
      order: keys of the reader's items.
      kinds: key of an item -> its kind.
      counts: kind -> how many of its items are seen again, at most half of them.
      random: draws them.

    Returns:
      keys of the first showings, kind after kind, as the kinds came first.

    Raises:
      ValueError: more than half of the items of a kind.
    """
    chosen: list[str] = []
    for kind in dict.fromkeys(kinds[item] for item in order):
        of_kind = [item for item in order if kinds[item] == kind]
        wanted, early = counts.get(kind, 0), len(of_kind) // 2
        if wanted > early:
            raise ValueError(
                f"{wanted} of {len(of_kind)} {kind}s cannot be seen again far from their first showing; at most half "
                "of the items can: lower --repeats"
            )
        chosen += [of_kind[place] for place in sorted(random.permutation(early)[:wanted])]
    return chosen


def _three_orders(items: int) -> np.ndarray:
    """int64 [3, items]: permutations whose sum at every item is 3 (items - 1) / 2, or half off it for even `items`."""
    first, half = np.arange(items), items // 2
    step = first // 2
    if items % 2:
        second = np.where(first % 2 == 0, half - step, 2 * half - step)
        third = 3 * half - first - second
    else:
        second = np.where(first % 2 == 0, half - 1 - step, 2 * half - 1 - step)
        third = np.where(first % 2 == 0, 3 * half - 2, 3 * half - 1) - first - second
    return np.stack([first, second, third])
