"""The rules of Dash, pure: no clock, no file, no database, no event loop. Time and random bits are arguments."""
