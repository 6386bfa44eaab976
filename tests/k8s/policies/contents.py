"""Images, models and settings: what runs is what was reviewed."""

import re
from collections.abc import Iterator

from sensorium.rpc.settings import PREFIX
from tests.k8s.manifests import Manifest, Workload, environment, model_servers, pool_of, workloads
from tests.k8s.processes import SETTINGS, module_of, settings_of

_COMMIT = re.compile(r"[0-9a-f]{40}")
_VERSION = re.compile(r"\d+\.\d+\.\d+([-+].+)?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Read by libraries, not by the processes' own settings.
_LIBRARIES = {"OMP_NUM_THREADS", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN", "HF_XET_CHUNK_CACHE_SIZE_BYTES"}


def images_do_not_change_under_their_names(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        volumes = [volume["image"]["reference"] for volume in workload.volumes.values() if "image" in volume]
        for reference in (*(container["image"] for container in workload.containers), *volumes):
            if not _is_fixed(reference):
                yield f"{workload.name}: {reference} may be another image tomorrow"


def _is_fixed(reference: str) -> bool:
    """An image of no registry was put on the node by hand; any tag says which, but none says nothing."""
    name, _, digest = reference.partition("@")
    if digest:
        return bool(_DIGEST.fullmatch(digest))
    path, _, tag = name.rpartition(":")
    if "/" not in path:
        return bool(path) and tag not in ("", "latest")
    return bool(_VERSION.fullmatch(tag) or _COMMIT.fullmatch(tag))


def models_are_pinned(objects: list[Manifest]) -> Iterator[str]:
    for server in model_servers(objects):
        variables = environment(objects, server.main)
        model, revision = variables.get("SENSORIUM_MODEL", ""), variables.get("SENSORIUM_REVISION", "")
        if not model.startswith("/") and not _COMMIT.fullmatch(revision):
            yield f"{server.name} serves {model} at {revision or 'whatever is newest'}"


def weights_of_that_revision_are_mounted(objects: list[Manifest]) -> Iterator[str]:
    jobs = {pool_of_job(job): job for job in workloads(objects) if job.component == "model-download"}
    for server in model_servers(objects):
        variables = environment(objects, server.main)
        if variables["SENSORIUM_MODEL"].startswith("/"):
            continue
        mounts = {mount["mountPath"]: mount for mount in server.main["volumeMounts"]}
        mount = mounts.get(variables.get("HF_HUB_CACHE", ""), {})
        volume = server.volumes.get(mount.get("name", ""), {})
        if not mount.get("readOnly"):
            yield f"{server.name} has no weights, or may change them"
        if "image" in volume:
            if not volume["image"]["reference"].endswith(f":{variables['SENSORIUM_REVISION']}"):
                yield f"{server.name} mounts an image of another revision"
        elif "persistentVolumeClaim" in volume:
            job = jobs.get(pool_of(server))
            if job is None or not _fills(objects, job, server):
                yield f"{server.name}: nothing downloads its weights"


def pool_of_job(job: Workload) -> str:
    """Returns the pool whose model a Job downloads."""
    return str(job.manifest["metadata"]["name"]).removeprefix("sensorium-download-")


def _fills(objects: list[Manifest], job: Workload, server: Workload) -> bool:
    """Whether the Job leaves what the server, and what waits before it, looks for."""
    wanted, given = environment(objects, server.main), environment(objects, job.main)
    same = all(given.get(name) == wanted[name] for name in ("SENSORIUM_MODEL", "SENSORIUM_REVISION"))
    waiting = [each for each in server.containers if each["name"] == "wait-for-weights"]
    waited = [environment(objects, each).get("SENSORIUM_REVISION") for each in waiting]
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for each in (job, server)
        for volume in each.volumes.values()
        if "persistentVolumeClaim" in volume
    }
    return same and waited == [wanted["SENSORIUM_REVISION"]] and len(claims) == 1 and given["HF_HUB_OFFLINE"] == "0"


def variables_are_settings(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        for container in workload.containers:
            given = set(environment(objects, container))
            if kind := SETTINGS.get(module_of(container)):
                given -= {PREFIX + name.upper() for name in kind.model_fields}
            else:
                # What waits and what downloads take two of their pool's settings.
                given = {name for name in given if not name.startswith(PREFIX)}
            for name in sorted(given - _LIBRARIES):
                yield f"{workload.name}: nothing in {container['name']} reads {name}"


def processes_accept_their_settings(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        if module_of(workload.main) in SETTINGS:
            settings = settings_of(workload.main, environment(objects, workload.main))
            if isinstance(settings, str):
                yield f"{workload.name}: {settings}"
        elif workload.component in ("gateway", "model-server"):
            yield f"{workload.name} runs {workload.main.get('args')}"


POLICIES = [
    images_do_not_change_under_their_names,
    models_are_pinned,
    weights_of_that_revision_are_mounted,
    variables_are_settings,
    processes_accept_their_settings,
]
