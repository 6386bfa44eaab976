"""The formats of DeepSeek."""

from services.engine.language.responses.known.known_format import NAMED_CALL, THINK, KnownFormat

_STARTS = ["<｜Assistant｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁end｜>"]
"""After the results of tools, its prompts have no mark of the assistant."""
_SECTION = ["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜end▁of▁sentence｜>"]

DEEPSEEK_V3 = KnownFormat(
    # DeepSeek V3 and R1, and what is distilled from R1
    name="deepseek-v3",
    marks=("<｜tool▁call▁begin｜>", "```json"),
    template={
        "start_anchor": _STARTS,
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": (r"\s*<｜tool▁call▁begin｜>\w*<｜tool▁sep｜>\s*(?P<name>[^\s<`]+)\s*```json(?=\s)"),
                "close_pattern": r"\s*```\s*<｜tool▁call▁end｜>",
                "repeats": True,
                "content": "json",
                "transform": NAMED_CALL,
            },
            "content": {"close": _SECTION},
        },
    },
)

DEEPSEEK_V3_1 = KnownFormat(
    # DeepSeek V3.1. Without thinking, its prompts end with </think>.
    name="deepseek-v3.1",
    marks=("<｜tool▁call▁begin｜>",),
    without=("```json",),
    template={
        "start_anchor": _STARTS,
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"\s*<｜tool▁call▁begin｜>\s*(?P<name>[^\s<]+)\s*<｜tool▁sep｜>",
                "close": "<｜tool▁call▁end｜>",
                "repeats": True,
                "content": "json",
                "transform": NAMED_CALL,
            },
            "content": {"close": [*_SECTION, "</think>"]},
        },
    },
)
