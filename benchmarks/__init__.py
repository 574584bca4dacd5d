"""Programs that measure Cyborg beside the least that does the same.

Run each from the top of the source tree: ``python -m benchmarks.NAME``.
"""
