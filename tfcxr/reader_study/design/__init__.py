"""Studies are designed: images chosen and made alike, items drawn, orders balanced, power calculated."""
