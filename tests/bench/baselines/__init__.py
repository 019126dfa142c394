"""What Dash is held against: the least a program can do that does only this one thing.

Where a module is a program of its own, it prints `ready` when it can be measured and ends with its stdin.
"""
