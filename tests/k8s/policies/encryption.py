"""TLS, where an overlay has it: on every way, with certificates of the names by which the other end is called."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.k8s.manifests import (
    Manifest,
    Workload,
    environment,
    find,
    gateways,
    model_servers,
    of_kind,
    pool_of,
    workloads,
)

_FILES = ("tls.crt", "tls.key", "ca.crt")
"""What cert-manager writes into a secret."""


def is_encrypted(objects: list[Manifest], workload: Workload) -> bool:
    """Returns whether a process serves TLS."""
    return "SENSORIUM_TLS_CERTIFICATE_FILE" in environment(objects, workload.main)


def all_ways_are_encrypted_or_none(objects: list[Manifest]) -> Iterator[str]:
    """And model servers let in only who shows a certificate."""
    servers, ways = model_servers(objects), gateways(objects)
    given = [environment(objects, each.main) for each in (*ways, *servers)]
    if not any("_TLS_" in name for variables in given for name in variables):
        return
    for gateway in ways:
        variables = environment(objects, gateway.main)
        told = [f"SENSORIUM_ENDPOINT_TLS_{name}" for name in ("CA_FILE", "CERTIFICATE_FILE", "KEY_FILE", "NAME")]
        if not is_encrypted(objects, gateway) or not set(told) <= set(variables):
            yield f"{gateway.name} speaks plaintext one way"
    for server in servers:
        if not is_encrypted(objects, server):
            yield f"{server.name} speaks plaintext"
        if "SENSORIUM_TLS_CLIENT_CA_FILE" not in environment(objects, server.main):
            yield f"{server.name} answers anybody"


def files_come_from_secrets_of_the_processes_own(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        for name, value in environment(objects, workload.main).items():
            if not name.startswith("SENSORIUM_") or not name.endswith("_FILE"):
                continue
            path = PurePosixPath(value)
            mounts = {mount["mountPath"]: mount for mount in workload.main["volumeMounts"]}
            mount = mounts.get(str(path.parent), {})
            secret = workload.volumes.get(mount.get("name", ""), {}).get("secret", {}).get("secretName")
            if secret != f"{workload.manifest['metadata']['name']}-tls" or not mount.get("readOnly"):
                yield f"{workload.name}: {name} is not in its own secret"
            # A path within it would never be renewed.
            if path.name not in _FILES or "subPath" in mount:
                yield f"{workload.name}: {name} is no file of cert-manager's, or stays what it was at the start"


def certificates_are_of_the_names_that_are_called(objects: list[Manifest]) -> Iterator[str]:
    for gateway in gateways(objects):
        own, namespace = gateway.manifest["metadata"]["name"], gateway.manifest["metadata"]["namespace"]
        if is_encrypted(objects, gateway):
            called = {own, f"{own}.{namespace}", f"{own}.{namespace}.svc", f"{own}.{namespace}.svc.cluster.local"}
            yield from _lacks(objects, own, called, {"server auth", "client auth"})
        pattern = environment(objects, gateway.main).get("SENSORIUM_ENDPOINT_TLS_NAME")
        for server in model_servers(objects) if pattern else []:
            called = {pattern.replace("{pool}", pool_of(server))}
            yield from _lacks(objects, server.manifest["metadata"]["name"], called, {"server auth"})


def _lacks(objects: list[Manifest], name: str, called: set[str], usages: set[str]) -> Iterator[str]:
    spec = (find(objects, "Certificate", name) or {"spec": {}})["spec"]
    if not called <= set(spec.get("dnsNames", [])):
        yield f"Certificate/{name} is not of {sorted(called - set(spec.get('dnsNames', [])))}"
    if not usages <= set(spec.get("usages", [])) or spec.get("secretName") != f"{name}-tls":
        yield f"Certificate/{name} cannot be used"


def certificates_come_from_one_authority(objects: list[Manifest]) -> Iterator[str]:
    for certificate in of_kind(objects, "Certificate"):
        spec, name = certificate["spec"], certificate["metadata"]["name"]
        if find(objects, "Issuer", spec["issuerRef"]["name"]) is None:
            yield f"Certificate/{name} is issued by nobody here"
        if not spec.get("isCA") and spec["issuerRef"]["name"] != "sensorium":
            yield f"Certificate/{name} is of another authority"
        hours = [int(spec[key].removesuffix("h")) for key in ("duration", "renewBefore")]
        if not 24 * 14 <= hours[1] < hours[0]:
            yield f"Certificate/{name} is renewed too late to be noticed in time"


def proxies_do_not_speak_plaintext_to_tls(objects: list[Manifest]) -> Iterator[str]:
    for gateway in gateways(objects):
        routed = of_kind(objects, "GRPCRoute") and not of_kind(objects, "BackendTLSPolicy")
        if routed and is_encrypted(objects, gateway):
            yield f"{gateway.name} serves TLS, and no BackendTLSPolicy tells the proxy"
    encrypted = {each.manifest["metadata"]["name"] for each in workloads(objects) if is_encrypted(objects, each)}
    for service in of_kind(objects, "Service"):
        wanted = "https" if service["metadata"]["name"] in encrypted else "kubernetes.io/h2c"
        if any(port.get("appProtocol") != wanted for port in service["spec"]["ports"]):
            yield f"Service/{service['metadata']['name']} does not say {wanted}"


POLICIES = [
    all_ways_are_encrypted_or_none,
    files_come_from_secrets_of_the_processes_own,
    certificates_are_of_the_names_that_are_called,
    certificates_come_from_one_authority,
    proxies_do_not_speak_plaintext_to_tls,
]
