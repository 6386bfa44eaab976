"""The gateway: one address for every model, in front of the services.

It implements the services of the contract on raw bytes: it looks up the method's task and the request's model, picks
an endpoint that serves both, and passes the bytes on, both ways. `python -m gateway --static HOST:PORT,HOST:PORT`, or
`--discovery dns` or `--discovery endpointslice` where they come and go.
"""
