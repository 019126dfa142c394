"""Which models answer text with text and do nothing else, by their names. Pure.

What others cost is not bounded by the price of their tokens: some search by themselves and bill each search,
and sound and pictures have prices that lists leave out or give under another name. A list often gives them
the price of a plain model whose name their own begins with.
"""

import re

SEARCHES = "searches by itself"
_KINDS = {
    SEARCHES: "search searching online sonar compound deepresearch",
    "runs other agents by itself": "multiagent",
    "makes or hears sound": (
        "omnisound audio realtime live tts stt voice speech sonic whisper transcribe transcription dialog"
    ),
    "makes pictures": "banana image images imagen dalle diffusion video veo sora",
    "writes no text": "embed embedding embeddings embedder rerank reranker moderation",
}
_WORDS = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_PHRASES = (
    ("deep-research", "deepresearch"),
    ("dall-e", "dalle"),
    ("multi-agent", "multiagent"),
    ("-omni", "-omnisound"),
)


def kind(model: str) -> str | None:
    """What a model of this name does beside text (`searches by itself`); None where it is a plain one."""
    name = model.lower()
    for phrase, word in _PHRASES:
        name = name.replace(phrase, word)
    return next((_WORDS[word] for word in re.split(r"[^a-z]+", name) if word in _WORDS), None)
