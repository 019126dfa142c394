"""What travels between Dash's processes: frames, envelopes, methods, events and errors.

This package imports msgspec and the standard library only, so every client may depend on it and it
depends on nobody. There is no socket and no `await` in here.
"""
