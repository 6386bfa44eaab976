"""Verbs of encoder models that answer with parts of a text: ClassifyTokens, AnswerQuestion and FillMask."""
