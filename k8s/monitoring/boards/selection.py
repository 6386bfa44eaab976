"""Which series a board asks for: those its variables choose."""

HERE = 'namespace=~"$namespace"'
CALLS = f'{HERE}, task=~"$task", model=~"$model"'
MODEL = f'{HERE}, model=~"$model", model!=""'
"""Of the gateway's: services export metrics of the same names without a model."""
POOL = f'{HERE}, pool=~"$pool"'
SERVER = f'{POOL}, instance=~"$instance"'
