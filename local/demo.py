"""The demo: a streamed conversation through the gateway with its timings, and a call for every other task."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

from rich.console import Console
from rich.table import Table

from local.exhibits.tour import tour
from local.fleet import fleet
from local.stack import Ports, Stack
from local.stopping import stop_on_signals
from sensorium import Client
from sensorium.v1.common_pb2 import ROLE_ASSISTANT, ROLE_USER, ChatMessage, GenerationCompleted

QUESTIONS = ("Hello! My name is Ada.", "What is continuous batching?", "What is my name?")


@dataclass(frozen=True)
class Measured:
    """Timings of one answer."""

    question: str
    pieces: int
    first_piece: float
    """Seconds until the first text arrived."""
    completed: GenerationCompleted
    endpoint: str

    @property
    def tokens(self) -> int:
        """Number of generated tokens."""
        return self.completed.usage.output_token_count

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second after the first one, by the service's own timing."""
        timing = self.completed.timing
        took = timing.total.ToTimedelta() - timing.time_to_first_output.ToTimedelta()
        return (self.tokens - 1) / max(took.total_seconds(), 1e-6)


def run(console: Console) -> None:
    """Starts the stack on free ports, holds the conversation, and stops everything.

    Raises:
        StackFailed: a process did not start, or ended.
    """
    stop = stop_on_signals()
    members = fleet()
    console.print("Starting.")
    with Stack(Ports.free(len(members)), members, stop) as stack:
        if not wait(console, stack, stop):
            return
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C now interrupts the conversation
        with Client(stack.target, timeout=60) as client:
            console.print(_table(converse(console, client)))
            tour(console, client, members)
        with console.status("stopping"):
            stack.stop()
    console.print("Stopped. [bold]make serve[/] keeps it running; README.md shows how to call it.")


def wait(console: Console, stack: Stack, stop: Event) -> bool:
    """Shows progress until the stack is ready. Stops it and returns False if `stop` is set before."""
    began = time.monotonic()
    with console.status("starting") as status:
        for progress in stack.wait_ready():
            if stop.is_set():
                status.update("stopping")
                stack.stop()
                return False
            status.update(f"{progress} … {time.monotonic() - began:.0f} s")
    services = "1 service" if len(stack.members) == 1 else f"{len(stack.members)} services"
    console.print(f"Gateway and {services} ready after {time.monotonic() - began:.1f} s at {stack.target}.\n")
    return True


def converse(console: Console, client: Client) -> list[Measured]:
    """Asks the questions in order, each with the conversation so far, and prints the answers as they stream."""
    messages: list[ChatMessage] = []
    figures: list[Measured] = []
    for question in QUESTIONS:
        messages.append(ChatMessage(role=ROLE_USER, content=question))
        console.print(f"[bold cyan]you   [/] {question}")
        answer, measured = _ask(console, client, question, messages)
        messages.append(ChatMessage(role=ROLE_ASSISTANT, content=answer))
        figures.append(measured)
    return figures


def _ask(console: Console, client: Client, question: str, messages: Sequence[ChatMessage]) -> tuple[str, Measured]:
    began = time.perf_counter()
    first = 0.0
    pieces: list[str] = []
    console.print("[bold green]model [/] ", end="")
    stream = client.text.stream_chat(messages, temperature=0.0)
    for piece in stream:
        first = first or time.perf_counter() - began
        pieces.append(piece)
        console.out(piece, end="", highlight=False)
    console.print("\n")
    assert stream.completed is not None
    return "".join(pieces), Measured(
        question=question,
        pieces=len(pieces),
        first_piece=first,
        completed=stream.completed,
        endpoint=stream.events.endpoint() or "",
    )


def _table(figures: Sequence[Measured]) -> Table:
    table = Table("question")
    for figure in ("first token", "tokens/s", "tokens", "pieces"):
        table.add_column(figure, justify="right", no_wrap=True)
    table.add_column("endpoint", no_wrap=True)
    for row in figures:
        table.add_row(
            row.question,
            f"{row.first_piece * 1e3:.0f} ms",
            f"{row.tokens_per_second:.0f}",
            str(row.tokens),
            str(row.pieces),
            row.endpoint,
        )
    return table
