"""The door: a Unix socket on which JSON-RPC 2.0 is spoken, one JSON object a line.

    listener    takes the socket over (lock, stale file, mode), accepts, checks who is calling
    connection  one peer: cuts frames, starts calls, sends answers; all limits and deadlines of a peer
    outbox      what waits to be sent to one peer, bounded
    dispatch    the table from method to handler, and the one boundary where exceptions become answers
    door        the methods that are about the connection itself: `rpc.*` and subscriptions

Nothing here knows what a method means. A call goes listener -> connection -> dispatch -> service, and its
answer back the same way.
"""
