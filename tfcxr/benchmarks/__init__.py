"""What `python -m tfcxr.benchmark` measures."""
