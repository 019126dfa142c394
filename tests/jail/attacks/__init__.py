"""The adversary: every class of attack on a jail, the victims outside, and what is expected of each wall.

    scene ──starts──▶ victim, sleepers          outside: files, sockets, memory, keys to be had
      │                  ▲ ?
      └──Column.command──▶ jail ▶ attacker      inside: on_files, on_processes, on_network, on_kernel,
                                                on_resources; one JSON line per attack

`attacker` and the `on_*` files run inside a jail with the system's Python and the standard library alone; of
Dash they know nothing, of the victims the addresses. What an attack says of itself counts only where nobody
can see more: whatever leaves a trace (a file, a signal, a packet) is judged by the scene, from outside.
`columns` says what a launcher must offer to be attacked, and has small launchers of its own, so that the
matrix is older than the walls it tests. `expected` is the table. Everything is bounded: the bombs by numbers
of the launch, each attack by a deadline, and nothing outlives its scene.
"""
