"""The gateway: one address for every model, in front of the services.

It implements the services of the contract on raw bytes: from each call it reads the task (by the method's name) and the
model, chooses an endpoint that serves both, and relays the bytes in both directions. Run it with
`python -m gateway --static HOST:PORT,HOST:PORT`, or with `--discovery dns` or `--discovery endpointslice` if endpoints
come and go. Read `app` first, then `relay/relay`, `admission/admission` and `endpoints/router`.
"""
