"""Something else runs than what was reviewed."""

from tests.k8s.faults.places import H100, KIND, L4, download, gateway, mount, server, tell
from tests.k8s.policies import contents

FAULTS = {
    contents.images_do_not_change_under_their_names: (
        H100,
        {
            "latest": lambda o: gateway(o).main.update(image="registry.example.com/sensorium-gateway:latest"),
            "no tag": lambda o: gateway(o).main.update(image="sensorium-gateway"),
            "a branch": lambda o: gateway(o).main.update(image="registry.example.com/sensorium-gateway:main"),
            "half a digest": lambda o: gateway(o).main.update(image="registry.example.com/sensorium-gateway@sha256:12"),
            "weights by a branch": lambda o: (
                server(o)
                .volumes["weights"]["image"]
                .update(reference="registry.example.com/sensorium-weights-text:main")
            ),
        },
    ),
    contents.models_are_pinned: (
        L4,
        {
            "a branch": lambda o: tell(o, server(o), SENSORIUM_REVISION="main"),
            "nothing": lambda o: tell(o, server(o), SENSORIUM_REVISION=None),
            "half a commit": lambda o: tell(o, server(o), SENSORIUM_REVISION="b968826"),
        },
    ),
    contents.weights_of_that_revision_are_mounted: (
        L4,
        {
            "another revision": lambda o: (
                download(o).main["env"].append({"name": "SENSORIUM_REVISION", "value": "0" * 40})
            ),
            "writable": lambda o: mount(server(o), "/weights").pop("readOnly"),
            "elsewhere": lambda o: tell(o, server(o), HF_HUB_CACHE="/cache"),
            "no download": lambda o: o.remove(download(o).manifest),
            "an offline download": lambda o: download(o).main["env"][0].update(value="1"),
            "nothing waits": lambda o: server(o).pod["initContainers"].clear(),
            "another volume": lambda o: (
                download(o).volumes["weights"]["persistentVolumeClaim"].update(claimName="other")
            ),
        },
    ),
    contents.variables_are_settings: (
        KIND,
        {
            "misspelt": lambda o: tell(o, server(o), SENSORIUM_MODELL="x"),
            "of another process": lambda o: tell(o, gateway(o), SENSORIUM_MODEL="x"),
            "of a library that is not there": lambda o: tell(o, server(o), VLLM_USE_V1="1"),
        },
    ),
    contents.processes_accept_their_settings: (
        KIND,
        {
            "not a number": lambda o: tell(o, server(o), SENSORIUM_CACHE_MIB="128Mi"),
            "out of range": lambda o: tell(o, server(o), SENSORIUM_MAX_SEQUENCES="0"),
            "required, and missing": lambda o: tell(o, server(o), SENSORIUM_MODEL=None),
            "not a flag": lambda o: server(o).main["args"].append("--cache-gib=1"),
            "not a module": lambda o: server(o).main["args"].__setitem__(2, "services.texts"),
            "not a pool": lambda o: tell(o, gateway(o), SENSORIUM_ENDPOINTSLICES="text=Sensorium Text"),
        },
    ),
}
