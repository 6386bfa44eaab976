"""Label selectors that use a board's variables."""

HERE = 'namespace=~"$namespace"'
CALLS = f'{HERE}, task=~"$task", model=~"$model"'
MODEL = f'{HERE}, model=~"$model", model!=""'
"""Selects the gateway's series: services export metrics of the same names without a model."""
POOL = f'{HERE}, pool=~"$pool"'
SERVER = f'{POOL}, instance=~"$instance"'
