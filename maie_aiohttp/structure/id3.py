"""ID3v2 tags (id3.org, versions 2.2 to 2.4), which stand in front of MP3, FLAC, AAC and others."""

from __future__ import annotations

_HEADER = 10
_FOOTER_FLAG = 0x10
_MOST_TAGS = 16  # taggers that do not know each other have been seen to stack two


def skip_tags(head: bytes, at: int = 0) -> int:
    """Offset of the first byte after any ID3v2 tags at `at`; it may lie past the head."""
    for _ in range(_MOST_TAGS):
        size = _tag_size(head[at : at + _HEADER])
        if size == 0:
            break
        at += size
    return at


def _tag_size(header: bytes) -> int:
    """Bytes of the tag with this header, header and footer included; 0 when it is none."""
    if len(header) < _HEADER or header[:3] != b"ID3" or not 2 <= header[3] <= 4:
        return 0
    size = 0
    for byte in header[6:]:
        if byte & 0x80:  # sizes are syncsafe: seven bits to a byte (ID3v2.4, section 6.2)
            return 0
        size = size << 7 | byte
    footer = _HEADER if header[5] & _FOOTER_FLAG else 0
    return _HEADER + size + footer
