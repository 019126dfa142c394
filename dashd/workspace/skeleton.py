"""A git directory of our own that borrows another repository's objects, made of plain files by the host.

Every line of its configuration is ours. It is what an agent's clone starts from, and what git works in when
it must look at a tree without believing the git directory in that tree.
"""

from pathlib import Path

from dashd.workspace.source import Source

SHALLOW_BYTES_MAX = 16 << 20

_CONFIG = """[core]
\trepositoryformatversion = {version}
\tfilemode = true
\tbare = {bare}
\tlogallrefupdates = {reflogs}
[gc]
\tauto = 0
[user]
\tname = {name}
\temail = {email}
"""


def write(
    git_dir: Path,
    source: Source,
    *,
    branch: str,
    commit: str | None = None,
    name: str = "Dash",
    bare: bool = False,
    borrow: tuple[Path, ...] = (),
    exclude: tuple[str, ...] = (),
) -> None:
    """Makes `git_dir`, whose HEAD is `branch` (a full ref), at `commit` if there is one.

    Objects come from `source` and the stores in `borrow`; `exclude` are patterns that are never added.
    """
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (git_dir / folder).mkdir(parents=True)
    sha256 = source.object_format == "sha256"
    truth = {True: "true", False: "false"}
    config = _CONFIG.format(
        version=int(sha256), bare=truth[bare], reflogs=truth[not bare], name=name, email="agent@dash.invalid"
    )
    (git_dir / "config").write_text(config + ("[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""))
    (git_dir / "HEAD").write_text(f"ref: {branch}\n")
    stores = (*source.objects, *borrow)
    (git_dir / "objects/info/alternates").write_text("".join(f"{store}\n" for store in stores))
    (git_dir / "info/exclude").write_text("".join(f"{pattern}\n" for pattern in exclude))
    if source.shallow:
        (git_dir / "shallow").write_bytes((source.common_dir / "shallow").read_bytes()[:SHALLOW_BYTES_MAX])
    if commit:
        ref = git_dir / branch
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(f"{commit}\n")
