"""The format of gpt-oss, harmony."""

from services.engine.language.responses.known.known_format import NAMED_CALL, KnownFormat

GPT_OSS = KnownFormat(
    # gpt-oss: messages in channels. All but the analysis and the calls are for the user. The receiver of a call is
    # written in either of two places.
    name="gpt-oss",
    marks=("<|channel|>", "<|message|>", "<|start|>"),
    template={
        "start_anchor": "<|start|>assistant",
        "fields": {
            "reasoning_content": {
                "open_pattern": r"<\|channel\|>analysis\s*<\|message\|>",
                "close": ["<|end|>", "<|return|>"],
                "repeats": True,
                "join": "\n",
            },
            "tool_calls": {
                "open_pattern": (
                    r"(?:<\|channel\|>\w+\s+to=(?:functions\.)?(?P<name>[\w.-]+)"
                    r"|(?:<\|start\|>assistant|\A)\s*to=(?:functions\.)?(?P<name>[\w.-]+)\s*<\|channel\|>\w+)"
                    r"\s*(?:<\|constrain\|>)?\s*\w*\s*<\|message\|>"
                ),
                "close": ["<|call|>", "<|end|>", "<|return|>"],
                "repeats": True,
                "content": "json",
                "transform": NAMED_CALL,
            },
            "content": {
                "close_pattern": (
                    r"<\|start\|>assistant|<\|end\|>|<\|return\|>|<\|call\|>"
                    r"|<\|channel\|>(?:final|commentary)\s*(?:<\|constrain\|>\s*\w+\s*)?<\|message\|>"
                ),
                "repeats": True,
                "join": "\n",
            },
        },
    },
)
