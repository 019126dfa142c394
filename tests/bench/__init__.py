"""Figures: what Dash costs, beside a baseline that is measured in the same run (`./run bench [NAME …]`).

One file a subject, each with `run(bed)` that yields its figures. Ratios hold on a busy machine and on another
one; absolute values do not. Nothing here is a gate of `./run test`, except that it must run (test_bench.py).
"""
