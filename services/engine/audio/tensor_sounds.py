"""The torchaudio functions that transformers' feature extractors use, in plain torch; equal results on the CPU."""

import math
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

_SMALLEST = torch.finfo(torch.float32).eps
_LOWEST = 20.0
"""Lowest frequency of Kaldi's mel bands, in Hz."""
_EMPHASIS = 0.97
_WINDOWS = {"hamming": torch.hamming_window, "hanning": torch.hann_window}


class MelSpectrogram(nn.Module):
    """Power mel spectrogram with HTK's mel scale: `[..., samples]` to `[..., bands, frames]`."""

    def __init__(self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int) -> None:
        super().__init__()
        self._size, self._step = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(win_length))
        self.register_buffer("bands", _htk_bands(n_fft // 2 + 1, n_mels, sample_rate))

    def forward(self, samples: Tensor) -> Tensor:
        """Returns the spectrogram. Samples are padded by reflection, so that frames are centred."""
        window: Tensor = self.get_buffer("window")
        flat = samples.reshape(-1, samples.shape[-1])
        found = torch.stft(
            flat, self._size, self._step, len(window), window, pad_mode="reflect", onesided=True, return_complex=True
        )
        power = found.reshape(*samples.shape[:-1], *found.shape[-2:]).abs().pow(2.0)
        return torch.matmul(power.transpose(-1, -2), self.get_buffer("bands")).transpose(-1, -2)


def compute_deltas(spectrogram: Tensor, win_length: int) -> Tensor:
    """Returns delta coefficients of `[..., bands, frames]` over `win_length` frames, with replicated edges."""
    reach = (win_length - 1) // 2
    flat = spectrogram.reshape(1, -1, spectrogram.shape[-1])
    ramp = torch.arange(-reach, reach + 1, dtype=flat.dtype, device=flat.device).repeat(flat.shape[1], 1, 1)
    rise = conv1d(pad(flat, (reach, reach), mode="replicate"), ramp, groups=flat.shape[1])
    return (rise / (reach * (reach + 1) * (2 * reach + 1) / 3)).reshape(spectrogram.shape)


def fbank(
    samples: Tensor, num_mel_bins: int, frame_length: float, frame_shift: float, sample_frequency: float,
    window_type: str,
) -> Tensor:  # fmt: skip
    """Returns Kaldi's log mel filterbank `[frames, bands]` of mono samples `[1, samples]`.

    `frame_length` and `frame_shift` are in milliseconds; only frames that lie wholly within the samples count.

    Raises:
        ValueError: there are fewer samples than in one frame.
    """
    length, shift = (int(sample_frequency * span * 0.001) for span in (frame_length, frame_shift))
    if samples.shape[-1] < length:
        raise ValueError(f"{samples.shape[-1]} samples are fewer than one frame of {length}")
    frames = samples[0].unfold(0, length, shift)
    frames = frames - frames.mean(dim=1).unsqueeze(1)
    frames = frames - _EMPHASIS * pad(frames.unsqueeze(0), (1, 0), mode="replicate").squeeze(0)[:, :-1]
    frames = frames * _WINDOWS[window_type](length, periodic=False).unsqueeze(0)
    size = 1 << (length - 1).bit_length()
    power = torch.fft.rfft(pad(frames, (0, size - length))).abs().pow(2.0)
    bands = pad(_kaldi_bands(size, num_mel_bins, sample_frequency), (0, 1))
    return torch.mm(power, bands.T).clamp_min(_SMALLEST).log()


def _htk_bands(frequencies: int, count: int, rate: int) -> Tensor:
    """Returns triangular HTK mel filters `[frequencies, bands]`, from 0 to half the rate."""
    every = torch.linspace(0, rate // 2, frequencies)
    highest = 2595.0 * math.log10(1.0 + rate // 2 / 700.0)
    corners = 700.0 * (10.0 ** (torch.linspace(0.0, highest, count + 2) / 2595.0) - 1.0)
    widths = corners[1:] - corners[:-1]
    distances = corners.unsqueeze(0) - every.unsqueeze(1)
    falling = -1.0 * distances[:, :-2] / widths[:-1]
    rising = distances[:, 2:] / widths[1:]
    return torch.minimum(falling, rising).clamp_min(0.0)


def _kaldi_bands(size: int, count: int, rate: float) -> Tensor:
    """Returns Kaldi's mel filters `[bands, frequencies]`, which are triangles on the mel axis."""
    lowest, highest = (1127.0 * math.log(1.0 + frequency / 700.0) for frequency in (_LOWEST, 0.5 * rate))
    width = (highest - lowest) / (count + 1)
    band = torch.arange(count).unsqueeze(1)
    left, centre, right = (lowest + (band + edge) * width for edge in (0, 1.0, 2.0))
    mel = (1127.0 * (1.0 + rate / size * torch.arange(size / 2) / 700.0).log()).unsqueeze(0)
    return torch.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)).clamp_min(0.0)


IN_PLACE_OF_TORCHAUDIO = SimpleNamespace(
    transforms=SimpleNamespace(MelSpectrogram=MelSpectrogram),
    functional=SimpleNamespace(compute_deltas=compute_deltas),
    compliance=SimpleNamespace(kaldi=SimpleNamespace(fbank=fbank)),
)
"""These functions under torchaudio's names."""
