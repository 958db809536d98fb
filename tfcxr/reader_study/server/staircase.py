"""How long the next image of a staircase is shown, for HYPE-time (Zhou, Gordon, Krishna et al. 2019, section 3.1).

An exposure becomes 10 ms shorter after each right answer and 30 ms longer after each wrong one, within 100 to 1,000 ms.
It stays the same on average where 75 % of answers are right: .75 x 10 = .25 x 30 (Kaernbach 1991, weighted up-down).

Differs from the paper:
  - readers are not told after each image whether they were right, since the same study may measure other things;
  - the first exposure is the design's (500 ms in the paper), and a block may have any number of images;
  - the steps are those that settle at its threshold of 75 %; its own wording of them was not at hand.
"""

from collections.abc import Iterable

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 1.0
DOWN_SECONDS = 0.01
UP_SECONDS = 0.03


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
    seconds = first_seconds
    for is_right in results:
        if is_right:
            seconds = max(seconds - DOWN_SECONDS, SHORTEST_SECONDS)
        else:
            seconds = min(seconds + UP_SECONDS, LONGEST_SECONDS)
    return round(seconds, 3)
