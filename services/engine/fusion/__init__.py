"""Parts of a model computed by the native library in one go, where that gives what the model's own modules give.

`survey` records what modules compute; `norm`, `mlp`, `attention` and `decoder` say what may stand in for them;
`substitution` puts in what was found to compute the same.
"""
