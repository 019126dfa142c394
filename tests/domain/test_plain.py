"""Names of models that do more than text."""

import pytest

from dashd.domain import plain


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "searches by itself",
            "gpt-4o-search-preview gpt-4o-mini-search-preview-2025-03-11 gpt-5-search-api o3-deep-research"
            " o4-mini-deep-research-2025-06-26 sonar perplexity/sonar-pro openai/gpt-4o:online"
            " groq/compound-mini llama-3.1-sonar-small-128k-online",
        ),
        (
            "makes or hears sound",
            "gpt-audio gpt-audio-mini gpt-4o-audio-preview gpt-realtime-2 gemini-live-2.5-flash whisper-1"
            " tts-1-hd gpt-4o-mini-transcribe gemini-2.5-flash-tts grok-voice-latest amazon.nova-sonic-v1:0"
            " gemini-omni-1.1-flash qwen3.8-omni-flash",
        ),
        ("runs other agents by itself", "grok-4.20-multi-agent-0309"),
        (
            "makes pictures",
            "google/gemini-nano-banana-2.1 gemini-2.5-flash-image gpt-image-1 GPT-5-Image dall-e-3 imagen-4.0"
            " veo-3.1",
        ),
        ("writes no text", "text-embedding-3-large mistral-embed pplx-embed-v1-4b omni-moderation-latest"),
    ],
)
def test_a_name_says_that_more_than_text_is_billed(kind, names) -> None:
    assert {name: plain.kind(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


def test_a_plain_name_is_one() -> None:
    names = (
        "gpt-4o gpt-4o-mini gpt-5.1-codex o3 o4-mini claude-sonnet-4-5 gemini-2.5-pro deepseek-chat kimi-k3"
        " mistral-large olive-7b research-7b openai/gpt-oss-120b qwen3-coder glm-5.3 visionary"
    )
    assert [name for name in names.split() if plain.kind(name)] == []
