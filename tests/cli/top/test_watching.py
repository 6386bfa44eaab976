import io
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from sensorium.cli.top.command import metrics_of
from sensorium.cli.top.scrape import ScrapeFailed
from sensorium.cli.top.watch import Watch, forever
from sensorium.client import Client
from sensorium.v1.models_pb2 import ListModelsResponse
from tests.cli.conftest import Invoke
from tests.cli.top.seen import EARLIER, LATER, MODELS
from tests.client.fake import Fake


@contextmanager
def metrics(*texts: str, port: int = 0) -> Iterator[str]:
    """Serves the texts one after the other, the last one for ever."""
    told = list(texts)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = told.pop(0) if len(told) > 1 else told[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def listing(fake: Fake) -> Fake:
    fake.answers["ModelService/ListModels"] = lambda request, context: ListModelsResponse(models=MODELS)
    return fake


@pytest.mark.parametrize(
    ("target", "host"),
    [("127.0.0.1:50050", "127.0.0.1"), ("dns:///gw:1", "gw"), ("[::1]:50050", "[::1]"), ("gw", "gw")],
)
def test_metrics_are_those_of_the_target(target: str, host: str) -> None:
    """Not those of another gateway that happens to run here."""
    assert metrics_of(target) == f"http://{host}:9050/metrics"


def test_one_frame_for_scripts(listing: Fake, invoke: Invoke) -> None:
    with metrics(EARLIER, LATER) as url:
        done = invoke("top", "--once", "--interval", "0.2", "--metrics", url)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(listing.target)
    assert [line.split()[:2] for line in lines if line.startswith("chat")] == [["chat", "1"], ["chat", "ready"]]
    assert "\x1b" not in done.stdout


def test_a_gateway_that_goes_away_and_comes_back(listing: Fake) -> None:
    with Client(listing.target) as client, metrics(EARLIER, LATER) as url:
        watch = Watch(client, listing.target, url)
        assert watch.look().change.seconds == 0
        assert watch.look().change.seconds > 0
        heard = watch.look().change
    listing.answers.clear()
    with Client(listing.target) as client:
        watch.client = client
        away = watch.look()
        assert "does not answer" in away.trouble
        assert (away.change, len(away.models)) == (heard, 2), "the last that was heard stays"
        with metrics(LATER, port=urlsplit(url).port or 0):
            back = watch.look()
    assert back.change.seconds > 0
    assert "does not list its models" in back.trouble


def test_nobody_there_is_a_sentence(listing: Fake, invoke: Invoke) -> None:
    done = invoke("top", "--once", "--metrics", "http://127.0.0.1:9/[/x]")
    assert done.exit_code == 1
    assert done.stderr.startswith("http://127.0.0.1:9/[/x] does not answer: ")
    assert done.stderr.count("\n") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<html>hello</html>", "does not answer with metrics."),
        ("sensorium_engine_requests_running 0.0\n", "answers with metrics that are not a gateway's."),
    ],
)
def test_something_else_there_is_a_sentence(listing: Fake, invoke: Invoke, text: str, said: str) -> None:
    with metrics(text) as url:
        done = invoke("top", "--once", "--metrics", url)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{url} {said}\n  → The gateway's metrics port")


def test_metrics_that_may_be_another_gateways_are_named(
    listing: Fake, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metrics(LATER) as url:
        monkeypatch.setattr("sensorium.cli.top.command.metrics_of", lambda target: url)
        told = invoke("top", "--once", "--interval", "0.1").stdout
        assert told.startswith(f"{listing.target} (metrics: {url})  ")
        monkeypatch.setattr("sensorium.cli.top.command._USUAL_PORT", listing.target[-3:])
        assert invoke("top", "--once", "--interval", "0.1").stdout.startswith(f"{listing.target}  ")


def test_only_addresses_of_the_web_are_asked(invoke: Invoke) -> None:
    done = invoke("top", "--once", "--metrics", "file:///etc/passwd")
    assert done.exit_code == 2
    assert "--metrics" in done.stderr


def test_it_waits_for_a_gateway_that_is_not_there_yet(listing: Fake) -> None:
    console = Console(file=io.StringIO(), width=200)
    turns = iter([True, True, False])
    with Client(listing.target) as client:
        watch = Watch(client, listing.target, "http://127.0.0.1:9/[/x]")
        forever(watch, console, 0.05, lambda: next(turns))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("does not answer") == 2
    with pytest.raises(ScrapeFailed), Client(listing.target) as client:
        Watch(client, listing.target, "http://127.0.0.1:9/metrics").look()
