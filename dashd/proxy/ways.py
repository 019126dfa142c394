"""In which format a program calls the models of its chain, and whom of them that leaves out. Pure.

A program is told one format when it starts, and speaks that until it ends.
"""

from collections.abc import Sequence

import msgspec

from dashd.domain.speech import USUAL, FormatName

from .registry import Candidate


class Way(msgspec.Struct, frozen=True):
    """How a program calls a chain."""

    format: FormatName
    called: Sequence[Candidate]
    """In their order; at least one."""
    left_out: Sequence[Candidate] = ()
    """Not served in that format, so never called."""


def find(chain: Sequence[Candidate], formats: Sequence[FormatName]) -> Way | None:
    """The way of a program that speaks `formats`, preferred first; None where nobody serves it in any.

    First comes a format in which every model of the chain is served by somebody, then the one of whoever is
    to be asked first. Without formats all are called.
    """
    if not formats:
        return Way(USUAL, chain)
    models = {each.model for each in chain}

    def rank(way: Way) -> tuple[bool, int]:
        whole = {each.model for each in way.called} == models
        return not whole, chain.index(way.called[0])

    ways = [
        Way(
            form,
            [each for each in chain if each.serves(form)],
            [each for each in chain if not each.serves(form)],
        )
        for form in formats
    ]
    return min((way for way in ways if way.called), key=rank, default=None)
