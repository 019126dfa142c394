"""The model proxy: the only way from an agent to a model, and the place where money cannot overshoot.

`formats/` knows the wire formats (what a call may ask, what goes out, what a response says it used) and
does no I/O; `meter` turns a response into a settlement; `ledger` reserves a call's worst case on its whole
chain of budgets before a byte leaves, and settles it once; `route` chooses provider and model, retries and
fails over; `upstream` and `offline` answer (`stage` is for showing what the latter does); `server` listens
for the agents. A call walks: parse, price, reserve, forward, meter, settle. Nothing in here knows agents'
processes, and nothing outside it holds a provider's key.

`tunnel` is the other way out, and knows nothing of models: what CONNECT on the same listener opens, to hosts
that were named and nowhere else; `tunnel_records` puts it on record.
"""
