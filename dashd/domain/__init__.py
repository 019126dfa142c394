"""The rules of Dash, pure: no clock, file, database or event loop. Time and random bits are arguments."""
