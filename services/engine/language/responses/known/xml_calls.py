"""Formats that write each argument of a call between marks of its own, as text."""

from services.engine.language.responses.known.known_format import NAMED_CALL, THINK, KnownFormat
from services.engine.language.responses.known.plain_marks import ASSISTANT, ENDS

QWEN_3_CODER = KnownFormat(
    # Qwen 3 Coder, Qwen 3.5, Nemotron 3, Step 3.5. The models leave out <tool_call> at times. The line breaks around a
    # value belong to the format, other whitespace, as the indentation of code, to the value.
    name="qwen-3-coder",
    marks=("<tool_call>", "<function="),
    template={
        "start_anchor": ASSISTANT,
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"\s*(?:<tool_call>\s*)?<function=(?P<name>[^>\s]+)>",
                "close_pattern": r"\s*</function>\s*</tool_call>",
                "repeats": True,
                "content": "xml-inline",
                "content_args": {
                    "tag_pattern": r"<parameter=(?P<key>[^>\s]+)>(?:\r?\n)?(?P<value>.*?)(?:\r?\n)?</parameter>"
                },
                "transform": NAMED_CALL,
            },
            "content": {"close": ENDS},
        },
    },
)

GLM_4 = KnownFormat(
    # GLM 4.5 to 4.7. Without thinking, a prompt of 4.7 ends with </think>.
    name="glm-4",
    marks=("<tool_call>", "<arg_key>"),
    template={
        "start_anchor": "<|assistant|>",
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"\s*<tool_call>\s*(?P<name>[^\s<>{}]+)\s*(?=<arg_key>|</tool_call>)",
                "close": "</tool_call>",
                "repeats": True,
                "content": "xml-inline",
                "content_args": {
                    "tag_pattern": r"<arg_key>(?P<key>[^<]*)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>"
                },
                "transform": NAMED_CALL,
            },
            "content": {"close": ["</think>", "<|user|>", "<|observation|>", "<|endoftext|>"]},
        },
    },
)

MINIMAX_M2 = KnownFormat(
    # MiniMax M2: several calls in one section
    name="minimax-m2",
    marks=("<minimax:tool_call>", "<invoke name="),
    template={
        "start_anchor": "]~b]ai",
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r'\s*(?:<minimax:tool_call>\s*)?<invoke name="(?P<name>[^"<>\s]+)">',
                "close": "</invoke>",
                "repeats": True,
                "content": "xml-inline",
                "content_args": {"tag_pattern": r'<parameter name="(?P<key>[^"<>]+)">(?P<value>.*?)</parameter>'},
                "transform": NAMED_CALL,
            },
            "content": {"close_pattern": r"\s*(?:</minimax:tool_call>|\[e~\[)"},
        },
    },
)

SEED_OSS = KnownFormat(
    # Seed-OSS: as Qwen 3 Coder, without line breaks around a value
    name="seed-oss",
    marks=("<seed:tool_call>", "<function="),
    template={
        "start_anchor": "<seed:bos>assistant",
        "fields": {
            "reasoning_content": {"open": "<seed:think>", "close": "</seed:think>"},
            "tool_calls": {
                "open_pattern": r"\s*<seed:tool_call>\s*<function=(?P<name>[^>\s]+)>",
                "close_pattern": r"\s*</function>\s*</seed:tool_call>",
                "repeats": True,
                "content": "xml-inline",
                "content_args": {"tag_pattern": r"<parameter=(?P<key>[^>\s]+)>(?P<value>.*?)</parameter>"},
                "transform": NAMED_CALL,
            },
            "content": {"close": "<seed:eos>"},
        },
    },
)
