"""What errors say."""

from dashd.workspace import errors


def test_a_message_says_what_and_a_hint_what_to_do():
    error = errors.NotSaved("It was not saved.", hint="Save it.")
    assert (error.message, error.hint, str(error)) == (
        "It was not saved.",
        "Save it.",
        "It was not saved. Save it.",
    )


def test_paths_are_named_in_characters_that_a_terminal_can_show():
    error = errors.MergeConflict("Both changed", ["a\nb", "\x1b[2J", "ä"])
    assert error.message == r"Both changed: a\nb, \x1b[2J, \xe4."
    assert error.paths == ("a\nb", "\x1b[2J", "ä")


def test_many_paths_are_counted():
    error = errors.CheckoutNotClean("Changed", [f"f{n}" for n in range(12)])
    assert error.message.endswith("f9 and 2 more.")


def test_a_ref_that_moved_says_where_it_is():
    error = errors.RefMoved("refs/heads/x", None, "abc")
    assert "refs/heads/x is at abc, not at nothing" in error.message


def test_a_gate_that_was_killed_has_no_code():
    assert "did not end in time" in errors.GateFailed(["make", "test"], None, "").message
    assert "'make test' ended with 2" in errors.GateFailed(["make", "test"], 2, "").message


def test_every_class_says_what_it_is():
    found = [errors.WorkspaceError]
    while found:
        kind = found.pop()
        assert kind.__name__.startswith("_") or kind.__doc__, kind
        found += kind.__subclasses__()


def test_whatever_a_file_is_called_the_error_can_be_written_down():
    """No row and no event takes what is not UTF-8, and errors end up there."""
    error = errors.WorkspaceError("reading (b\udcff): no", hint="mend \udcff")
    assert (error.message, str(error)) == ("reading (b\\udcff): no", "reading (b\\udcff): no mend \\udcff")
