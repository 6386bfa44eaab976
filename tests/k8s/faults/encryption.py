"""TLS with gaps."""

from typing import Any

from tests.k8s.faults.places import gateway, mount, server, spec, tell
from tests.k8s.manifests import Manifest, find
from tests.k8s.policies import encryption
from tests.k8s.variants import objects_of

TLS = "components/tls-certmanager"


def _route(objects: list[Manifest]) -> None:
    objects += [each for each in objects_of("components/gateway-api") if each["kind"] == "GRPCRoute"]


def _certificate(objects: list[Manifest], name: str) -> Any:
    return spec(objects, "Certificate", name)


def _without_issuer(objects: list[Manifest]) -> None:
    objects.remove(find(objects, "Issuer", "sensorium") or {})


FAULTS = {
    encryption.all_ways_are_encrypted_or_none: (
        TLS,
        {
            "one pool in plaintext": lambda o: tell(o, server(o), SENSORIUM_TLS_CERTIFICATE_FILE=None),
            "anybody let in": lambda o: tell(o, server(o), SENSORIUM_TLS_CLIENT_CA_FILE=None),
            "plaintext to callers": lambda o: tell(o, gateway(o), SENSORIUM_TLS_CERTIFICATE_FILE=None),
            "plaintext to endpoints": lambda o: tell(o, gateway(o), SENSORIUM_ENDPOINT_TLS_CA_FILE=None),
        },
    ),
    encryption.files_come_from_secrets_of_the_processes_own: (
        TLS,
        {
            "another's secret": lambda o: server(o).volumes["tls"]["secret"].update(secretName="sensorium-gateway-tls"),
            "not mounted": lambda o: tell(o, server(o), SENSORIUM_TLS_KEY_FILE="/certs/tls.key"),
            "another file": lambda o: tell(o, server(o), SENSORIUM_TLS_KEY_FILE="/tls/key.pem"),
            "never renewed": lambda o: mount(server(o), "/tls").update(subPath="tls.crt"),
        },
    ),
    encryption.certificates_are_of_the_names_that_are_called: (
        TLS,
        {
            "of another pool": lambda o: _certificate(o, "sensorium-text").update(dnsNames=["sensorium-vision"]),
            "another pattern": lambda o: tell(o, gateway(o), SENSORIUM_ENDPOINT_TLS_NAME="{pool}.example.com"),
            "another namespace": lambda o: _certificate(o, "sensorium-gateway")["dnsNames"].pop(),
            "no client": lambda o: _certificate(o, "sensorium-gateway")["usages"].remove("client auth"),
        },
    ),
    encryption.certificates_come_from_one_authority: (
        TLS,
        {
            "no issuer": _without_issuer,
            "self-signed": lambda o: _certificate(o, "sensorium-text")["issuerRef"].update(
                name="sensorium-self-signed"
            ),
            "renewed on the last day": lambda o: _certificate(o, "sensorium-text").update(renewBefore="24h"),
        },
    ),
    encryption.proxies_do_not_speak_plaintext_to_tls: (
        TLS,
        {
            "a route": _route,
            "a Service of h2c": lambda o: spec(o, "Service", "sensorium-text")["ports"][0].update(
                appProtocol="kubernetes.io/h2c"
            ),
        },
    ),
}
