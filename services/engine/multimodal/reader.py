"""From the files of images and recordings to what the model takes of them."""

from dataclasses import dataclass

from services.engine.generation.media import Medium
from services.engine.media.image import ImageLimits, decode_image
from services.engine.media.refusal import ImageRefused
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.media_cache import MediaCache
from services.engine.multimodal.processor import Decoded, MediaProcessor, MediumRefused, digest_of


@dataclass(frozen=True)
class MediaReader:
    """Decodes files within limits and prepares what is new. Its methods may run in any thread."""

    processor: MediaProcessor
    cache: MediaCache
    image_limits: ImageLimits

    def read(self, kind: MediaKind, data: bytes, media_type: str) -> Medium:
        """Returns the medium in a file that was declared as `media_type`, empty if nothing was.

        Raises:
            MediumRefused: the model reads no such kind, or the file is damaged, too large or of another format.
        """
        if kind not in self.processor.kinds:
            known = " and ".join(known.value for known in self.processor.kinds)
            raise MediumRefused(f"is of kind {kind.value}, which this model does not read: it reads {known}")
        decoded = self._decoded(data, media_type)
        digest = digest_of(kind, decoded)
        return self.cache.find(digest) or self.cache.add(self.processor.read(kind, decoded, digest))

    def _decoded(self, data: bytes, media_type: str) -> Decoded:
        try:
            return decode_image(data, media_type, self.image_limits)
        except ImageRefused as refused:
            raise MediumRefused(str(refused)) from refused
