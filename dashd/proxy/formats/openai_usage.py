"""What OpenAI's usage object says, in either of its dialects and in those of compatible providers.

Cached tokens are inside the prompt tokens. Some providers (Gemini, xAI) leave reasoning out of the completion
tokens and only count it in the total, so the output is never less than total - prompt.
"""

from collections.abc import Mapping
from typing import Any

from dashd.domain.prices import Usage
from dashd.proxy.meter import Incredible, count, mapping


def read(said: Mapping[str, Any]) -> Usage | None:
    """The usage in disjoint classes; None where the object does not state one. Raises Incredible."""
    prompt = count(said, "prompt_tokens", "input_tokens")
    output = count(said, "completion_tokens", "output_tokens")
    if prompt is None or output is None:
        return None
    details = mapping(said.get("prompt_tokens_details") or said.get("input_tokens_details"))
    produced = mapping(said.get("completion_tokens_details") or said.get("output_tokens_details"))
    if count(details, "audio_tokens") or count(produced, "audio_tokens"):
        raise Incredible("sound has no price here")
    read_tokens = count(details, "cached_tokens")
    if read_tokens is None:
        read_tokens = count(said, "cached_tokens", "prompt_cache_hit_tokens") or 0
    written = count(details, "cache_write_tokens", "cache_creation_tokens") or 0
    if read_tokens + written > prompt:
        raise Incredible("more cached tokens than tokens")
    total = count(said, "total_tokens") or 0
    reasoning = count(produced, "reasoning_tokens") or 0
    # What is inside the output cannot be more than it; then it was counted beside it.
    output = max(output if reasoning <= output else output + reasoning, total - prompt)
    return Usage(prompt - read_tokens - written, read_tokens, written, output)
