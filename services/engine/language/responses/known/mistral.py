"""The formats of Mistral."""

from services.engine.language.responses.known.known_format import CALL_WITH_ID, KnownFormat

_STARTS = ["[/INST]", "[/TOOL_RESULTS]", "[/SYSTEM_PROMPT]"]
_THINK = {"open": "[THINK]", "close": "[/THINK]"}

MISTRAL = KnownFormat(
    # Mistral Small 3.2, Magistral, Devstral, Ministral 3: a mark for each call
    name="mistral",
    marks=("[TOOL_CALLS]", "[ARGS]"),
    template={
        "start_anchor": _STARTS,
        "fields": {
            "reasoning_content": _THINK,
            "tool_calls": {
                "open_pattern": (
                    r"\s*\[TOOL_CALLS\]\s*(?P<name>[^\s\[\]{}]+)\s*(?:\[CALL_ID\](?P<id>[^\s\[\]]*)|(?P<id>))\[ARGS\]"
                ),
                "close_pattern": r"</s>|(?=\[TOOL_CALLS\])",
                "repeats": True,
                "content": "json",
                "transform": CALL_WITH_ID,
            },
            "content": {"close": "</s>"},
        },
    },
)

MISTRAL_LIST = KnownFormat(
    # Mistral 7B 0.3, Nemo, Large 2, Small 3.1: one list of calls
    name="mistral-list",
    marks=("[TOOL_CALLS]",),
    without=("[ARGS]",),
    template={
        "start_anchor": _STARTS,
        "fields": {
            "reasoning_content": _THINK,
            "tool_calls": {"open": "[TOOL_CALLS]", "close": "</s>", "content": "json"},
            "content": {"close": "</s>"},
        },
    },
)
