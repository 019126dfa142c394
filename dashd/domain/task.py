"""What a task can be, and how it gets from one state to the next.

waiting ──a──▶ ready ──b──▶ running ──c──▶ completed
                ▲ ▲           │ │ └──d──▶ dead
                │ └─────e─────┘ └──f──▶ retrying ──g──▶ (ready)
                └──h── dead, cancelled              any open ──i──▶ cancelled

a  the last prerequisite completed          e  given back: requeued, or its launch never began
b  claimed for a seat                       f  an attempt failed or was lost, and another may follow
c  an attempt succeeded                     g  its delay is over
d  no retry is left                         h  made ready again by hand
i  cancelled, or a prerequisite did not complete
j  a late success of an attempt that had been given up (retrying, ready -> completed)
"""

from .machine import Machine, arrow

MACHINE = Machine(
    "task",
    {
        "a": arrow("waiting", "ready"),
        "b": arrow("ready", "running"),
        "c": arrow("running", "completed"),
        "d": arrow("running", "dead"),
        "e": arrow("running", "ready"),
        "f": arrow("running", "retrying"),
        "g": arrow("retrying", "ready"),
        "h": arrow("dead cancelled", "ready"),
        "i": arrow("waiting ready running retrying", "cancelled"),
        "j": arrow("retrying ready", "completed"),
    },
    frozenset({"completed", "dead", "cancelled"}),
)
ENDED = MACHINE.ended
OPEN = frozenset({"waiting", "ready", "running", "retrying"})
