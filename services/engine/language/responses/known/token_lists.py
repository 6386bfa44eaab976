"""Formats with a list of calls between tokens."""

from services.engine.language.responses.known.known_format import THINK, KnownFormat

GRANITE_3 = KnownFormat(
    # Granite 3.0 to 3.3; thinking is that of 3.3
    name="granite-3",
    marks=("<|start_of_role|>", "<|tool_call|>"),
    template={
        "start_anchor": "<|start_of_role|>assistant<|end_of_role|>",
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"<\|tool_call\|>(?=\s*[\[{])",
                "close": "<|end_of_text|>",
                "content": "json",
            },
            "content": {"close": ["<response>", "</response>", "<|end_of_text|>"]},
        },
    },
)

PHI_4_MINI = KnownFormat(
    # Phi-4-mini
    name="phi-4-mini",
    marks=("<|tool|>", "<|/tool|>"),
    template={
        "start_anchor": "<|assistant|>",
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"<\|tool_call\|>(?=\s*[\[{])|functools(?=\s*\[)",
                "close": ["<|/tool_call|>", "<|end|>"],
                "content": "json",
            },
            "content": {"close": ["<|end|>", "<|endoftext|>"]},
        },
    },
)

LFM_2 = KnownFormat(
    # LFM 2 and 2.5: calls as Python writes them, for which transformers has a parser since 5.24. The first template
    # lists tools and does not write calls.
    name="lfm-2",
    either=("<|tool_call_start|>", "<|tool_list_start|>"),
    template={
        "start_anchor": "<|im_start|>assistant",
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"\s*<\|tool_call_start\|>(?=\s*\[)",
                "close": "<|tool_call_end|>",
                "content": "python-call-list",
            },
            "content": {"close": ["<|im_end|>", "<|endoftext|>"]},
        },
    },
)

NEMOTRON = KnownFormat(
    # Nemotron Nano 2 and Super 1.5
    name="nemotron",
    marks=("<TOOLCALL>",),
    template={
        "start_anchor": ["<SPECIAL_11>Assistant", "<|start_header_id|>assistant<|end_header_id|>"],
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {"open_pattern": r"\s*<TOOLCALL>(?=\s*\[)", "close": "</TOOLCALL>", "content": "json"},
            "content": {"close": ["<SPECIAL_12>", "<|eot_id|>"]},
        },
    },
)
