"""What a program leaves in its workspace when it has ended: locks go, changes become a commit of Dash's.

git runs in the agent's own git directory, under its configuration, in a jail that can write nothing but the
agent's tree; hooks are off. Nested repositories are left where they are: a commit of their names alone would
look like their content. Every call may be repeated: a second one finds nothing to do.
"""

from dashd import threads
from dashd.jail import tool
from dashd.workspace import adding, git
from dashd.workspace.errors import GitFailed
from dashd.workspace.place import Workspace

_DEADLINE_S = 600.0
_OUTPUT_BYTES_MAX = 1 << 16


async def commit_rest(workspace: Workspace, message: str) -> tuple[adding.Left, ...]:
    """Commits what is neither committed nor ignored; what git cannot take stays where it is, and is returned.

    Raises GitFailed.
    """
    place = _writing(workspace)
    apart = await threads.run(adding.aside, workspace.path)
    added = await adding.everything(place, apart, deadline_s=_DEADLINE_S)
    if not all(each.why for each in added.left):  # a full disk, say: another try may do better
        raise GitFailed(f"git add left files out: {added.said}")
    if (await git.run(place, "diff", "--cached", "--quiet", ok=(0, 1))).code:
        await git.run(
            place, "commit", "--quiet", "--no-verify", "--cleanup=verbatim", "-F", "-", stdin=message.encode()
        )
    return added.left


async def clear_locks(workspace: Workspace) -> None:
    """Removes the locks that a git of the agent's left when it was killed; nothing may run in the tree."""
    job = tool.Tool(
        argv=("find", "-P", ".git", "-type", "f", "-name", "*.lock", "-delete"),
        cwd=workspace.path,
        env=git.ENVIRONMENT,
        read=(),
        write=(workspace.path,),
        deadline_s=git.DEADLINE_S,
        output_bytes_max=_OUTPUT_BYTES_MAX,
    )
    try:
        done = await tool.run(job)
    except (tool.ToolFailed, tool.ToolTimeout) as error:
        raise GitFailed(str(error)) from error
    if done.code:
        raise GitFailed(f"Removing locks: {git.reason(done)}")


def _writing(workspace: Workspace) -> git.Place:
    return git.Place(
        workspace.git_dir,
        read=workspace.source.objects,
        write=(workspace.path,),
        work_tree=workspace.path,
    )
