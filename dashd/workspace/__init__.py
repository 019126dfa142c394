"""Workspaces that cannot lose work: shared clones, bundles, salvage, diffs, merges, landing.

    source ──▶ clone ──▶ (the agent works) ──▶ bundle ──▶ merge ──▶ land
                               │   diff           branch     target    the user's checkout
                               └─▶ salvage ──▶ removal

Who may write what: an agent its own tree; the jail that imports, the user's git directory, and it sees no
agent's tree; landing, the user's checkout, after everything else is done. git runs only in jails (`git`), and
the host reads trees that agents wrote through descriptors, following nothing (`tree`, `erase`). On disk
`place` says what is where, in the user's repository only these refs are touched:

    refs/dash/base/<agent>            the pin of the commit an agent started from
    refs/dash/salvage/<agent>         what was in a workspace when it was saved
    refs/heads/dash/<swarm>/<agent>   an agent's commits
    refs/heads/dash/<swarm>/result    where merges go
    the branch named to `land`        moved together with its checkout

Every operation may be killed at any point. `clone.recover` and `land.recover` are run at start; after them
the same call again does what is left, or finds it done. Operations on one agent are the caller's to put in a
row; on different agents they may run at once.
"""
