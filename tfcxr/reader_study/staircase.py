"""How long the next image of a staircase is shown: HYPE-time's rule (Zhou, Gordon, Krishna et al. 2019, section 3.1).

An exposure becomes 30 ms shorter after three right answers in a row and 10 ms longer after each wrong one, within 100
to 1,000 ms. It stays the same on average where a reader is right with probability p, p^3 = 1/4: 63 % of the time.

Differs from the paper:
  - readers are not told after each image whether they were right, since the same study may measure other things;
  - the first exposure is the design's (500 ms in the paper), and a block may have any number of images.
"""

from collections.abc import Iterable

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 1.0
DOWN_SECONDS = 0.03
UP_SECONDS = 0.01
RIGHT_IN_A_ROW = 3


def next_exposure(results: Iterable[bool], first_seconds: float) -> float:
    """The exposure after these answers, seconds.

    Args:
      results: whether each earlier answer of the block was right, in the order given.
      first_seconds: exposure of the block's first image.

    Raises:
      ValueError: a first exposure outside the range of the staircase.
    """
    if not SHORTEST_SECONDS <= first_seconds <= LONGEST_SECONDS:
        raise ValueError(
            f"a staircase starts between {SHORTEST_SECONDS:g} and {LONGEST_SECONDS:g} s, got {first_seconds:g}; change "
            "the exposure of the design"
        )
    seconds, in_a_row = first_seconds, 0
    for is_right in results:
        in_a_row = in_a_row + 1 if is_right else 0
        if not is_right:
            seconds = min(seconds + UP_SECONDS, LONGEST_SECONDS)
        elif in_a_row == RIGHT_IN_A_ROW:
            seconds, in_a_row = max(seconds - DOWN_SECONDS, SHORTEST_SECONDS), 0
    return round(seconds, 3)
