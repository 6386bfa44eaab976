"""Every setting of a process is given by some manifest, or left at its default on purpose.

A new setting belongs into one of the lists here, or into a manifest.
"""

import pytest

from sensorium.rpc.settings import PREFIX
from tests.k8s.manifests import environment, workloads
from tests.k8s.processes import SETTINGS, module_of
from tests.k8s.variants import VARIANTS, objects_of

# The same in a pod as on a workstation: usual ports, limits on one call, patience, what is logged.
SERVER = """
    port metrics_port message_bytes reflection stalled_client_seconds silent_client_seconds
    log_level log_calls log_exception_messages
"""
# Of the other ways to find endpoints; and what fits a cluster of any size.
DISCOVERY = """
    static dns dns_refresh_seconds namespace resync_seconds refresh_seconds probe_timeout_seconds reconnect_seconds
    startup_seconds gateways_per_endpoint
"""
ADMISSION = "over_commit queue_requests queue_seconds tenant_metadata"
RELAY = "retry_ratio resume_mib first_token_seconds token_gap_seconds call_seconds"
# What a model is trusted with stays off; the rest is for models that need it.
MODEL = """
    adapter name task quantization trust_remote_code allow_pickle_weights stuck_step_seconds max_queued_requests
    max_batch_items batch_wait_ms max_connection_age_seconds trace_ratio
"""
GENERATION = """
    prefill_tokens decode_slowdown prefix_cache kv_cache_dtype gpu_memory_utilization max_queued_tokens
    max_unread_tokens max_messages_per_second
"""
IMAGES = "media_bytes image_pixels max_queued_images"
SOUND = """
    media_bytes audio_seconds window_seconds max_queued_seconds max_streams unfinished_seconds max_batch_seconds vocoder
    context_seconds voices text_characters max_speaking max_unread_seconds
"""
LEFT_AT_DEFAULT = {
    "gateway": (SERVER, "tls_client_ca_file", DISCOVERY, ADMISSION, RELAY),
    "services.text": (SERVER, MODEL, GENERATION, "dtype max_batch_tokens adapters response_template"),
    "services.vision": (SERVER, MODEL, IMAGES, "dtype transform_pixels"),
    "services.speech": (SERVER, MODEL, GENERATION, SOUND, "cache_mib"),
    "services.multimodal": (
        *(SERVER, MODEL, GENERATION, IMAGES),
        "dtype audio_seconds max_prompt_media max_image_tiles max_batch_images max_batch_tokens response_template",
    ),
}


@pytest.mark.parametrize("module", SETTINGS)
def test_every_setting_is_given_or_left_at_its_default(module: str) -> None:
    left = {name for group in LEFT_AT_DEFAULT[module] for name in group.split()}
    given = {
        name.removeprefix(PREFIX).lower()
        for variant in VARIANTS
        for objects in [objects_of(variant)]
        for workload in workloads(objects)
        if module_of(workload.main) == module
        for name in environment(objects, workload.main)
        if name.startswith(PREFIX)
    }
    assert sorted(given & left) == [], "given by a manifest after all"
    assert sorted(given | left) == sorted(SETTINGS[module].model_fields)
