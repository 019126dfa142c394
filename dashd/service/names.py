"""Names that callers give: what people and programs cannot repeat is refused, before anything happens."""

from dashd.wire import errors

CHAIN = "->"


def check(path: str, name: str) -> None:
    """Raises InvalidParams for an empty name, one with blanks around it or with characters nobody sees."""
    if not name or name != name.strip() or not name.isprintable():
        raise errors.InvalidParams(
            f"{name[:100]!r} is no name: it is empty, or has blanks around it or signs that cannot be seen",
            hint="letters, digits and signs, with blanks only between them",
            path=path,
        )


def check_model(path: str, name: str) -> None:
    """The same for one model or one alias, which is neither a chain nor a wish."""
    check(path, name)
    if CHAIN in name or name.startswith("{"):
        raise errors.InvalidParams(
            f"{name[:100]!r} is a chain or a wish, not the name of one model",
            hint="one name: gpt-5-mini, fast",
            path=path,
        )
