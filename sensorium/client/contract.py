"""The contract's RPCs by service. Both clients read them from here, and so does the command line."""

from typing import ClassVar

from sensorium.client.rpc import Bidi, ServerStream, Unary
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2 as multimodal
from sensorium.v1 import speech_pb2 as speech
from sensorium.v1 import text_pb2 as text
from sensorium.v1 import vision_pb2 as vision


class TextRpcs:
    """Everything that reads text."""

    service: ClassVar = "sensorium.v1.TextService"
    generate = Unary(text.GenerateRequest, text.GenerateResponse)
    stream_generate = ServerStream(text.StreamGenerateRequest, text.StreamGenerateResponse)
    embed = Unary(text.EmbedRequest, text.EmbedResponse)
    rerank = Unary(text.RerankRequest, text.RerankResponse)
    classify = Unary(text.ClassifyRequest, text.ClassifyResponse)
    classify_tokens = Unary(text.ClassifyTokensRequest, text.ClassifyTokensResponse)
    answer_question = Unary(text.AnswerQuestionRequest, text.AnswerQuestionResponse)
    fill_mask = Unary(text.FillMaskRequest, text.FillMaskResponse)
    summarize = Unary(text.SummarizeRequest, text.SummarizeResponse)
    stream_summarize = ServerStream(text.StreamSummarizeRequest, text.StreamSummarizeResponse)
    translate = Unary(text.TranslateRequest, text.TranslateResponse)
    stream_translate = ServerStream(text.StreamTranslateRequest, text.StreamTranslateResponse)
    tokenize = Unary(text.TokenizeRequest, text.TokenizeResponse)
    detokenize = Unary(text.DetokenizeRequest, text.DetokenizeResponse)


class VisionRpcs:
    """Everything that reads images."""

    service: ClassVar = "sensorium.v1.VisionService"
    classify_image = Unary(vision.ClassifyImageRequest, vision.ClassifyImageResponse)
    detect_objects = Unary(vision.DetectObjectsRequest, vision.DetectObjectsResponse)
    segment_image = Unary(vision.SegmentImageRequest, vision.SegmentImageResponse)
    estimate_depth = Unary(vision.EstimateDepthRequest, vision.EstimateDepthResponse)
    transform_image = Unary(vision.TransformImageRequest, vision.TransformImageResponse)
    embed_image = Unary(vision.EmbedImageRequest, vision.EmbedImageResponse)


class SpeechRpcs:
    """Everything that hears or speaks."""

    service: ClassVar = "sensorium.v1.SpeechService"
    transcribe = Unary(speech.TranscribeRequest, speech.TranscribeResponse)
    stream_transcribe = Bidi(speech.StreamTranscribeRequest, speech.StreamTranscribeResponse)
    synthesize = Unary(speech.SynthesizeRequest, speech.SynthesizeResponse)
    stream_synthesize = ServerStream(speech.StreamSynthesizeRequest, speech.StreamSynthesizeResponse)
    classify_audio = Unary(speech.ClassifyAudioRequest, speech.ClassifyAudioResponse)
    embed_audio = Unary(speech.EmbedAudioRequest, speech.EmbedAudioResponse)


class MultimodalRpcs:
    """Everything that reads text and media together."""

    service: ClassVar = "sensorium.v1.MultimodalService"
    generate = Unary(multimodal.MultimodalServiceGenerateRequest, multimodal.MultimodalServiceGenerateResponse)
    stream_generate = ServerStream(
        multimodal.MultimodalServiceStreamGenerateRequest, multimodal.MultimodalServiceStreamGenerateResponse
    )
    caption = Unary(multimodal.CaptionRequest, multimodal.CaptionResponse)
    stream_caption = ServerStream(multimodal.StreamCaptionRequest, multimodal.StreamCaptionResponse)
    answer_image_question = Unary(multimodal.AnswerImageQuestionRequest, multimodal.AnswerImageQuestionResponse)
    stream_answer_image_question = ServerStream(
        multimodal.StreamAnswerImageQuestionRequest, multimodal.StreamAnswerImageQuestionResponse
    )
    answer_document_question = Unary(
        multimodal.AnswerDocumentQuestionRequest, multimodal.AnswerDocumentQuestionResponse
    )
    stream_answer_document_question = ServerStream(
        multimodal.StreamAnswerDocumentQuestionRequest, multimodal.StreamAnswerDocumentQuestionResponse
    )


class ModelRpcs:
    """What is served, and what it can do."""

    service: ClassVar = "sensorium.v1.ModelService"
    list_models = Unary(models.ListModelsRequest, models.ListModelsResponse)
    get_model = Unary(models.GetModelRequest, models.GetModelResponse)


TABLES = (TextRpcs, VisionRpcs, SpeechRpcs, MultimodalRpcs, ModelRpcs)
"""One class for each service of the contract."""
