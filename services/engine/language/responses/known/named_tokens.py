"""Formats with JSON arguments between tokens, and the name in them."""

from services.engine.language.responses.known.known_format import CALL_WITH_ID, NAMED_CALL, THINK, KnownFormat

GEMMA_4 = KnownFormat(
    # Gemma 4: keys without quotes, strings between tokens
    name="gemma-4",
    marks=("<|tool_call>", "<tool_call|>"),
    template={
        "start_anchor": ["<|turn>model\n", "<tool_response|>"],
        "fields": {
            "reasoning_content": {"open": "<|channel>thought\n", "close": "<channel|>"},
            "tool_calls": {
                "open_pattern": r"<\|tool_call>call:(?P<name>[\w.-]+)(?=\{)",
                "close": "<tool_call|>",
                "repeats": True,
                "content": "json",
                "content_args": {"unquoted_keys": True, "string_delims": [['<|"|>', '<|"|>']]},
                "transform": NAMED_CALL,
            },
            "content": {"close": ["<turn|>", "<|tool_response>", "<eos>"]},
        },
    },
)

KIMI_K2 = KnownFormat(
    # Kimi K2: a call's id has its name. Its first template does not write calls.
    name="kimi-k2",
    marks=("<|im_assistant|>", "<|im_middle|>"),
    template={
        "start_anchor": "<|im_assistant|>assistant<|im_middle|>",
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": (
                    r"\s*<\|tool_call_begin\|>\s*(?P<id>(?:functions\.)?(?P<name>[^\s:<]+):\d+)"
                    r"\s*<\|tool_call_argument_begin\|>"
                ),
                "close": "<|tool_call_end|>",
                "repeats": True,
                "content": "json",
                "transform": CALL_WITH_ID,
            },
            "content": {"close": ["<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|im_end|>"]},
        },
    },
)
