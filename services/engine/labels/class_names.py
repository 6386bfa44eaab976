"""The names of a model's own classes."""

from collections.abc import Mapping


def class_names(named: Mapping[int, str]) -> list[str]:
    """Returns the names of all classes by index, given the `id2label` of a configuration.

    A head has as many classes as that has names. A class whose index it leaves out is called LABEL_ and the index.
    """
    return [named.get(i, f"LABEL_{i}") for i in range(len(named))]
