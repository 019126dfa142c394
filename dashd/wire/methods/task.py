"""`task.*`: the units of work in a swarm's queue."""

from typing import Annotated

import msgspec
from msgspec import Meta, field

from .agent import AttemptBrief
from .table import Id, Method, Page, Params, Priority, Result, TaskState


class ListTasks(Params):
    """Asks for tasks, oldest first."""

    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    states: list[TaskState] = field(default_factory=list)
    limit: Page = 20
    cursor: Annotated[str, Meta(max_length=64)] = ""


class TaskBrief(Result):
    """A task in a list."""

    id: str
    swarm: str
    state: TaskState
    priority: Priority
    item: str
    agent: str | None
    attempts: int
    cause: str


class TaskList(Result):
    """One page; `next_cursor` is empty at the end."""

    items: list[TaskBrief]
    next_cursor: str
    total: int


class GetTask(Params):
    """Asks how a task stands."""

    task: Id


class Task(Result):
    """How a task stands at one instant."""

    id: str
    swarm: str
    state: TaskState
    priority: Priority
    level: Priority
    """The priority it is served at: its own, or the highest that waits for it."""
    item: str
    text: str
    agent: str | None
    cause: str
    result: str
    progress: str
    note: str
    after: list[str]
    """Tasks it waits for."""
    retry_at: str | None
    attempts: list[AttemptBrief]
    created_at: str
    started_at: str | None
    ended_at: str | None


class CancelTask(Params):
    """Cancels a task; what runs of it is ended, and what depends on it is cancelled too."""

    task: Id


class RetryTask(Params):
    """Makes a dead or cancelled task ready again, with all its retries."""

    task: Id


class TaskChanged(Result):
    """How the task stands after the call; `changed` is false where it stood so already."""

    id: str
    state: TaskState
    changed: bool
    cursor: int


METHODS = (
    Method("task.list", ListTasks, TaskList, "Lists tasks."),
    Method("task.get", GetTask, Task, "Says how a task stands."),
    Method("task.cancel", CancelTask, TaskChanged, "Cancels a task.", changes=True, destructive=True),
    Method(
        "task.retry",
        RetryTask,
        TaskChanged,
        "Makes an ended task ready again.",
        changes=True,
        idempotent=False,
    ),
)
