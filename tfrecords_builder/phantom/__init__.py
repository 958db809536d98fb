"""The phantom: a parametric thorax and what a radiograph of it shows."""
