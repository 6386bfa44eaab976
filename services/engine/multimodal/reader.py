"""Reads files of images and recordings and prepares them for the model."""

from services.engine.audio.reader import AudioReader
from services.engine.generation.running.media import Medium
from services.engine.images.growth import check_growth
from services.engine.media.image import ImageLimits, decode_image
from services.engine.media.recording import AudioLimits
from services.engine.media.refusal import AudioRefused, ImageRefused
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.processor import Decoded, MediaProcessor, MediumRefused, digest_of


class MediaReader:
    """Decodes files within limits, and prepares media that are not cached. Its methods may run in any thread."""

    def __init__(
        self, processor: MediaProcessor, cache: MediaCache, image_limits: ImageLimits, audio_limits: AudioLimits
    ) -> None:
        self._processor = processor
        self._cache = cache
        self._image_limits = image_limits
        self._listener = AudioReader(processor.hearing, audio_limits) if processor.sampling_rate else None

    def read(
        self, kind: MediaKind, data: bytes, media_type: str, deadline: float | None = None, *, images: int = 1
    ) -> Medium:
        """Returns the medium in a file of the declared `media_type`; empty: none was declared.

        `images` is the number of images in its prompt.

        Raises:
            MediumRefused: the model reads no such kind, or the file is damaged, too large or of another format.
            DeadlineExceeded: the deadline, on the clock of `time.monotonic`, passed while a recording was decoded.
        """
        if kind not in self._processor.kinds:
            known = " and ".join(known.value for known in self._processor.kinds)
            raise MediumRefused(f"is of kind {kind.value}, which this model does not read: it reads text and {known}")
        try:
            decoded = self._decoded(kind, data, media_type, deadline)
        except (ImageRefused, AudioRefused) as refused:
            raise MediumRefused(str(refused)) from refused
        beside = self._processor.beside(kind, images)
        digest = digest_of(kind, decoded, beside=beside)
        return self._cache.find(digest) or self._cache.add(self._processor.read(kind, decoded, digest, beside=beside))

    def _decoded(self, kind: MediaKind, data: bytes, media_type: str, deadline: float | None) -> Decoded:
        if kind is MediaKind.AUDIO:
            assert self._listener is not None
            return self._listener.decode(data, media_type, deadline).samples
        image = decode_image(data, media_type, self._image_limits)
        check_growth(self._processor.seeing, *image.size, self._image_limits)
        return image
