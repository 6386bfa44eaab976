"""SpeechService: each RPC converts the request to plain values, calls its verb, and converts the answer back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from sensorium.v1 import speech_pb2 as pb
from services.media_conversion import classify_ask, embed_ask, recordings_input
from services.speech.classify_conversion import classify_response
from services.speech.embed_conversion import embed_response
from services.speech.live.live_conversion import audio_of, config_of, live_ask, live_response
from services.speech.synthesis.synthesis_conversion import (
    completed_event,
    delta_event,
    started_event,
    synthesis_ask,
    synthesis_response,
)
from services.speech.transcription.transcribe_conversion import transcribe_ask, transcribe_response
from services.speech.verb_set import SpeechVerbs
from services.verb_servicer import VerbServicer


class SpeechServicer(VerbServicer[SpeechVerbs]):
    """The RPCs of SpeechService that this model serves; `services.handlers` refuses the others."""

    async def Transcribe(self, request: pb.TranscribeRequest, context: Any) -> pb.TranscribeResponse:
        """Transcribes a recording."""
        verb = self._able("Transcribe", self._ready(request.model).transcriber)
        answer = await verb.transcribe(transcribe_ask(request, context.time_remaining()))
        # The transcript of an hour has thousands of words: converting it would block the event loop.
        return await asyncio.to_thread(transcribe_response, answer, self._served.identity)

    async def StreamTranscribe(
        self, requests: AsyncIterator[pb.StreamTranscribeRequest], context: Any
    ) -> AsyncIterator[pb.StreamTranscribeResponse]:
        """Transcribes live audio."""
        request = await config_of(requests)
        verb = self._able("StreamTranscribe", self._ready(request.config.model).stream_transcriber)
        ask = live_ask(request, context.time_remaining())
        async with aclosing(audio_of(requests)) as pieces, aclosing(verb.listen(ask, pieces)) as events:
            async for event in events:
                yield live_response(event, self._served.identity)

    async def ClassifyAudio(self, request: pb.ClassifyAudioRequest, context: Any) -> pb.ClassifyAudioResponse:
        """Classifies recordings."""
        verb = self._able("ClassifyAudio", self._ready(request.model).classifier)
        self._require_labels("ClassifyAudio", wanted=verb.takes_labels, sent=bool(request.labels))
        sent = recordings_input(request, request.recordings, context.time_remaining())
        answer = await verb.classify(classify_ask(request, sent))
        return classify_response(answer, self._served.identity)

    async def EmbedAudio(self, request: pb.EmbedAudioRequest, context: Any) -> pb.EmbedAudioResponse:
        """Embeds recordings and texts as vectors."""
        verb = self._able("EmbedAudio", self._ready(request.model).embedder)
        sent = recordings_input(request, request.recordings, context.time_remaining())
        answer = await verb.embed(embed_ask(request, sent))
        return await asyncio.to_thread(embed_response, answer, self._served.identity)

    async def Synthesize(self, request: pb.SynthesizeRequest, context: Any) -> pb.SynthesizeResponse:
        """Synthesizes a text and returns the whole audio."""
        verb = self._able("Synthesize", self._ready(request.model).synthesizer)
        answer = await verb.synthesize(synthesis_ask(request, context.time_remaining()))
        return synthesis_response(answer, self._served.identity)

    async def StreamSynthesize(
        self, request: pb.StreamSynthesizeRequest, context: Any
    ) -> AsyncIterator[pb.StreamSynthesizeResponse]:
        """Synthesizes a text and streams the audio."""
        verb = self._able("StreamSynthesize", self._ready(request.model).synthesizer)
        async with verb.speaking(synthesis_ask(request, context.time_remaining())) as spoken:
            yield started_event(spoken.facts, self._served.identity)
            async for delta in spoken.deltas():
                yield delta_event(delta)
            yield completed_event(spoken.end(at_once=False))
