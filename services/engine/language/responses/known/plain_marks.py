"""Formats with JSON calls between plain marks, and thinking alone."""

from services.engine.language.responses.known.known_format import CALL, THINK, KnownFormat

ASSISTANT = [
    "<|im_start|>assistant",  # Qwen, SmolLM, Hermes and most others
    "<|start_of_role|>assistant<|end_of_role|>",  # Granite
    "<|start_header_id|>assistant<|end_header_id|>",  # Llama 3
    "[|assistant|]",  # EXAONE
    "<role>ASSISTANT</role>",  # Ling
    "<|assistant|>",
]
"""Where an assistant's message begins, in the chat templates of models that share a format."""

ENDS = ["<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "[|endofturn|]", "<|role_end|>", "</s>"]

HERMES = KnownFormat(
    # Qwen 2.5 and 3, QwQ, SmolLM 3, Granite 4, Hermes 2 and 3, EXAONE 4, MiMo
    name="hermes",
    marks=("<tool_call>",),
    template={
        "start_anchor": ASSISTANT,
        "fields": {
            "reasoning_content": THINK,
            "tool_calls": {
                "open_pattern": r"\s*<tool_call>(?=\s*\{)",
                "close": "</tool_call>",
                "repeats": True,
                "content": "json",
                "transform": CALL,
            },
            "content": {"close": ENDS},
        },
    },
)

LLAMA_3 = KnownFormat(
    # Llama 3.1, 3.2 and 3.3: the whole message is the call, and nothing marks it but, at times, <|python_tag|>
    name="llama-3",
    marks=("<|start_header_id|>", '"parameters"'),
    template={
        "start_anchor": ASSISTANT,
        "fields": {
            "tool_calls": {
                "open_pattern": r'\A\s*(?:<\|python_tag\|>\s*)?(?=\{\s*"(?:type|name|parameters)"\s*:)',
                "close": ["<|eot_id|>", "<|eom_id|>"],
                "repeats": True,
                "content": "json",
                "transform": CALL,
            },
            "content": {"close": ["<|eot_id|>", "<|eom_id|>"]},
        },
    },
)

THINKING = KnownFormat(
    # Models that think and call no tools. Their marks of roles are unknown, so what counts of a prompt is whether it
    # ends with the beginning of the thinking.
    name="thinking",
    marks=("<think>",),
    template={
        "start_anchor_pattern": r"(?=<think>\s*\Z)|(?<!<think>\s*)\Z",
        "fields": {"reasoning_content": THINK, "content": {"close": ENDS}},
    },
)
