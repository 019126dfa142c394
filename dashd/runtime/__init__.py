"""What makes the world match the rows: the scheduler claims, the supervisor runs, recovery adopts what lives.

Nothing here is called by `service`, and nothing here decides what is wanted: both sides meet in the database.
An attempt has a holder of its own (`run.py`), or is in a gateway that has (`gateway.py`, `gateway_entry.py`).
"""
