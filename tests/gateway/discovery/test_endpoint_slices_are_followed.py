"""EndpointSlice discovery, with the real Kubernetes client against a fake API server."""

import asyncio
import logging
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import incluster_config

from gateway.discovery import Member, cluster
from gateway.discovery import follower as following
from gateway.discovery.endpointslice import EndpointSliceDiscovery
from gateway.discovery.places import ServicePort
from sensorium import rpc
from tests.certificates import certificate
from tests.fakes.kubernetes_api import NAMESPACE, TOKEN, KubernetesApi, endpoint, endpoint_slice
from tests.waiting import until

PLACES = [ServicePort("text", "sensorium-text", "grpc"), ServicePort("vision", "sensorium-vision", "grpc")]


class Told:
    """The snapshots of discovery."""

    def __init__(self) -> None:
        self.snapshots: list[frozenset[Member]] = []

    @property
    def hosts(self) -> set[str]:
        """The hosts of the last snapshot."""
        return {member.address.rpartition(":")[0] for member in self.snapshots[-1]} if self.snapshots else set()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(following, "_LAST_WAIT_SECONDS", 0.1)
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def followed(
    api: KubernetesApi, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Told]:
    """Follows the slices in a task, as the pool does."""
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig(folder))
    seen = Told()
    discovery = EndpointSliceDiscovery(PLACES, **{"namespace": None, "resync_seconds": 3600, **settings})

    async def read() -> None:
        async for members in discovery.snapshots():
            seen.snapshots.append(members)

    task = asyncio.ensure_future(read())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until(lambda: all(thread.name != "endpointslices" for thread in threading.enumerate()))


def text(*hosts: str, name: str = "text-1") -> dict[str, Any]:
    return endpoint_slice("sensorium-text", [endpoint(host, host) for host in hosts], name=name)


async def test_lists_and_then_watches_what_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with KubernetesApi() as api:
        api.put(text("10.0.0.1"))
        api.put(endpoint_slice("other", [endpoint("10.9.9.9", "o")]))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: seen.hosts == {"10.0.0.1"} and api.watching == 1)
            api.put(text("10.0.0.1", "10.0.0.2"))
            await until(lambda: seen.hosts == {"10.0.0.1", "10.0.0.2"})
            api.put(text("10.0.1.1", name="text-2"))
            await until(lambda: seen.hosts == {"10.0.0.1", "10.0.0.2", "10.0.1.1"})
            gone = endpoint("10.0.0.1", "10.0.0.1", ready=False, serving=True, terminating=True)
            api.put(endpoint_slice("sensorium-text", [gone], name="text-1"))
            await until(lambda: Member("10.0.0.1:50051", "text", False, True, "10.0.0.1") in seen.snapshots[-1])
            api.delete("text-1")
            api.delete("text-2")
            await until(lambda: seen.hosts == set())
        assert (len(api.lists), len(api.watches)) == (1, 1)
        assert api.watches[0]["allowWatchBookmarks"].lower() == "true"


async def test_an_empty_list_is_an_empty_pool_and_is_logged_as_a_probable_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with KubernetesApi() as api, followed(api, tmp_path, monkeypatch) as seen:
        await until(lambda: seen.snapshots == [frozenset()])
        api.put(text())
        api.put(text("10.0.0.1"))
        await until(lambda: seen.hosts == {"10.0.0.1"})
    for place in PLACES:
        sentence = f"in namespace {NAMESPACE}, there is no EndpointSlice of a Service called {place.service}"
        assert caplog.text.count(sentence) == 1


@pytest.mark.parametrize("as_status", [False, True])
async def test_an_expired_resource_version_leads_to_a_new_list(
    as_status: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with KubernetesApi() as api:
        api.gone_as_status = as_status
        api.put(text("10.0.0.1"))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: api.watching == 1)
            await api.stop()
            api.put(text("10.0.0.2"))
            api.compact()
            await api.start()
            await until(lambda: seen.hosts == {"10.0.0.2"})
            assert len(api.lists) == 2
            # This is normal, so nothing is logged.
            assert "410" not in caplog.text
            api.put(text("10.0.0.3"))
            await until(lambda: seen.hosts == {"10.0.0.3"})


async def test_bookmarks_spare_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own, bookmarks = following.Follower._take, 0

    def take(follower: following.Follower, kind: str, piece: Any) -> None:
        nonlocal bookmarks
        own(follower, kind, piece)
        bookmarks += kind == "BOOKMARK"

    monkeypatch.setattr(following.Follower, "_take", take)
    async with KubernetesApi() as api:
        api.put(text("10.0.0.1"))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: api.watching == 1)
            began = int(api.watches[0]["resourceVersion"])
            api.other_writes()
            api.bookmark()
            api.compact()
            # Events arrive in order, so the bookmark was read when this one is.
            api.put(text("10.0.0.2"))
            await until(lambda: seen.hosts == {"10.0.0.2"})
            api.end_watches()
            await until(lambda: len(api.watches) == 2)
            assert int(api.watches[1]["resourceVersion"]) > began
            assert len(api.lists) == 1
            api.other_writes()
            api.bookmark()
            api.compact()
            await until(lambda: bookmarks == 2)
            api.end_watches()
            await until(lambda: len(api.watches) == 3)
            await until(lambda: api.watching == 1)
            assert len(api.lists) == 1


@pytest.mark.parametrize(
    ("sent", "length"), [(b'{"type":"DELETED","object":{"meta', 500), (b'{"type":"DEL\r\n', 12), (b"", 9)]
)
async def test_a_watch_that_breaks_within_an_event_resumes_from_the_last_whole_one(
    sent: bytes, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with KubernetesApi() as api:
        api.put(text("10.0.0.1"))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: api.watching == 1)
            api.put(text("10.0.0.1", "10.0.0.2"))
            await until(lambda: seen.hosts == {"10.0.0.1", "10.0.0.2"})
            await api.cut_watches(sent, length)
            api.put(text("10.0.0.3"))
            await until(lambda: seen.hosts == {"10.0.0.3"})
            assert len(api.lists) == 1
            assert len(seen.snapshots) == 3


async def test_endpoints_stay_known_while_the_api_server_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gateway")
    async with KubernetesApi() as api:
        api.put(text("10.0.0.1"))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: api.watching == 1)
            await api.stop()
            await until(lambda: "the API server is lost" in caplog.text)
            await asyncio.sleep(0.5)
            assert caplog.text.count("the API server is lost") == 1
            await api.start()
            await until(lambda: "EndpointSlices are followed again" in caplog.text)
            assert seen.snapshots == [frozenset({Member("10.0.0.1:50051", "text", replica="10.0.0.1")})]


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_a_refusal_names_the_verb_that_the_role_lacks(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with KubernetesApi() as api:
        api.put(text("10.0.0.1"))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: api.watching == 1)
            api.forbidden = {verb}
            api.compact()
            api.put(text("10.0.0.2"))
            api.compact()
            await until(lambda: seen.hosts == {"10.0.0.2"})
            api.other_writes()
            api.compact()
            api.end_watches()
            await until(lambda: f"must allow the verb `{verb}` on `endpointslices`" in caplog.text)
            await asyncio.sleep(0.3)
            assert caplog.text.count("must allow the verb") == 1
            assert f"in namespace {NAMESPACE}" in caplog.text
            assert seen.hosts == {"10.0.0.2"}
            if verb == "watch":
                # Without a watch, repeated lists still find the endpoints, only later.
                api.put(text("10.0.0.2", "10.0.0.4"))
                await until(lambda: seen.hosts == {"10.0.0.2", "10.0.0.4"})
            api.forbidden = set()
            await until(lambda: api.watching == 1)
            api.put(text("10.0.0.3"))
            await until(lambda: seen.hosts == {"10.0.0.3"})


async def test_lists_are_repeated_periodically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with KubernetesApi() as api:
        api.put(text("10.0.0.1"))
        async with followed(api, tmp_path, monkeypatch, resync_seconds=1) as seen:
            await until(lambda: len(api.lists) >= 2)
            assert len(seen.snapshots) == 1
            assert all(1 <= int(watch["timeoutSeconds"]) <= 2 for watch in api.watches)


async def test_a_thousand_endpoints_in_slices_of_a_hundred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with KubernetesApi() as api, followed(api, tmp_path, monkeypatch) as seen:
        await until(lambda: api.watching == 1)
        for part in range(10):
            api.put(text(*(f"10.0.{part}.{index}" for index in range(100)), name=f"text-{part}"))
        await until(lambda: len(seen.hosts) == 1000)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Sets up what the kubelet puts into a pod; returns the API server's TLS context."""
    pair = certificate(tmp_path, "IP:127.0.0.1")
    files = {"token": TOKEN, "namespace": f"{NAMESPACE}\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(pair[0]))
    monkeypatch.setattr(cluster, "_POD_NAMESPACE", tmp_path / "namespace")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    return context


async def test_in_a_pod_its_token_namespace_and_ca_are_used(
    pod: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with KubernetesApi(pod) as api:
        api.put(text("10.0.0.1"))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
        async with followed(api, tmp_path, monkeypatch) as seen:
            await until(lambda: seen.hosts == {"10.0.0.1"} and api.watching == 1)
            api.put(text("10.0.0.2"))
            await until(lambda: seen.hosts == {"10.0.0.2"})


def test_without_a_cluster_the_error_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(rpc.CannotServe, match=r"No Kubernetes cluster is configured: .* by KUBECONFIG\.$"):
        EndpointSliceDiscovery(PLACES, None, 300)
