"""dash-mcp: Dash's tools for orchestrator models, over MCP on stdio.

    stdio       bytes of fd 0 and 1 <-> MCP messages; bounded lines, both fds kept for the protocol alone
    server      the MCP `Server`: listing, calling, progress; every refusal becomes text a model can act on
    tools       the six tools as one table, and what each adds to the wire method of its name
    schemas     the method table's structs as slim input schemas, and arguments checked against them
    answers     what a model reads: results cut to size and cleaned, errors with ids and the next step
    link        the connection to dashd, which outlives restarts of dashd

A tool is a wire method under its own name (`swarm.get` is `swarm_get`); nothing is decided here, dashd
decides. The process keeps nothing that matters: every handle is an id of dashd's, so it may be ended and
started again at any time. What agents wrote travels as data inside results, cut and cleaned (invariant 12).
"""
