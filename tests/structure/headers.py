"""The beginnings of files, packed by hand from the specifications: nothing here was encoded."""

from __future__ import annotations

import struct
import zlib

SPEECH = bytes(range(128, 256)) * 2048  # 256 KiB of samples that are no text and hold no sync word


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    """An IFF or RIFF chunk with its padding."""
    return name + struct.pack(order + "I", len(body)) + body + bytes(len(body) % 2)


def wave_format(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, order: str = "<") -> bytes:
    """The body of a `fmt ` chunk."""
    block = channels * bits // 8
    return struct.pack(order + "HHIIHH", tag, channels, rate, rate * block, block, bits)


def wav(*, fmt: bytes = wave_format(), samples: bytes = SPEECH, before: bytes = b"", form: bytes = b"RIFF") -> bytes:
    """A WAV file, with `before` standing before its format."""
    order = ">" if form == b"RIFX" else "<"
    chunks = before + chunk(b"fmt ", fmt, order) + chunk(b"data", samples, order)
    return form + struct.pack(order + "I", 4 + len(chunks)) + b"WAVE" + chunks


def w64(fmt: bytes = wave_format()) -> bytes:
    """A Wave64 file."""
    tail = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    riff = bytes.fromhex("726966662e91cf11a5d628db04c10000")

    def guid_chunk(name: bytes, body: bytes) -> bytes:
        return name + tail + struct.pack("<Q", 24 + len(body)) + body + bytes(-len(body) % 8)

    return riff + bytes(8) + b"wave" + tail + guid_chunk(b"fmt ", fmt) + guid_chunk(b"data", SPEECH)


def common(*, channels: int = 1, bits: int = 16, exponent: int = 0x400C, compression: bytes = b"") -> bytes:
    """The body of a COMM chunk: 16 kHz unless the exponent says otherwise."""
    return struct.pack(">HIHHQ", channels, 1000, bits, exponent, 0xFA00 << 48) + compression


def aiff(*, comm: bytes = common(), samples: bytes = SPEECH, before: bytes = b"") -> bytes:
    """An AIFF file, or AIFF-C where the COMM chunk names a compression."""
    form = b"AIFC" if len(comm) > 18 else b"AIFF"
    chunks = before + chunk(b"COMM", comm, ">") + chunk(b"SSND", bytes(8) + samples, ">")
    return b"FORM" + struct.pack(">I", 4 + len(chunks)) + form + chunks


def caf(*, codec: bytes = b"lpcm", rate: float = 16_000.0, channels: int = 1, bits: int = 16) -> bytes:
    """A Core Audio file."""
    packet = channels * bits // 8
    description = struct.pack(">d4sIIIII", rate, codec, 0, packet, 1, channels, bits)
    return (
        b"caff\0\1\0\0"
        + (b"desc" + struct.pack(">Q", len(description)) + description)
        + (b"data" + struct.pack(">q", -1) + bytes(4) + SPEECH)
    )


def au(*, encoding: int = 3, rate: int = 16_000, channels: int = 1, samples: bytes = SPEECH) -> bytes:
    """A Sun AU file of unknown length."""
    return b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, encoding, rate, channels) + samples


def id3(body: bytes = bytes(100), *, footer: bool = False) -> bytes:
    """An ID3v2.4 tag."""
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    end = b"3DI\4\0\x10" + size if footer else b""
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + size + body + end


def mp3_frame(fill: bytes = b"\0") -> bytes:
    """MPEG-1 Layer III, 128 kbit/s, 44.1 kHz: 417 bytes."""
    return b"\xff\xfb\x90\0" + fill * 413


def mp2_frame() -> bytes:
    """MPEG-1 Layer II, 192 kbit/s, 48 kHz: 576 bytes."""
    return b"\xff\xfd\xa4\0" + bytes(572)


def mp1_frame() -> bytes:
    """MPEG-1 Layer I, 32 kbit/s, 32 kHz: 48 bytes."""
    return b"\xff\xff\x18\0" + bytes(44)


def mpeg2_frame() -> bytes:
    """MPEG-2 Layer III, 32 kbit/s, 16 kHz: 144 bytes."""
    return b"\xff\xf3\x48\0" + bytes(140)


def adts_frame(length: int = 200) -> bytes:
    """AAC LC, 16 kHz, mono."""
    header = 0xFFF << 44 | 1 << 40 | 1 << 38 | 8 << 34 | 1 << 30 | length << 13 | 0x7FF << 2
    return header.to_bytes(7, "big") + bytes(length - 7)


def loas_frame(length: int = 150) -> bytes:
    """An audio sync stream frame with this much payload."""
    return (0x2B7 << 13 | length).to_bytes(3, "big") + bytes(length)


def amr(frames: int = 10) -> bytes:
    """AMR narrow-band at 12.2 kbit/s."""
    return b"#!AMR\n" + (b"\x3c" + bytes(31)) * frames


def amr_wide(frames: int = 10) -> bytes:
    """AMR wide-band at 23.85 kbit/s."""
    return b"#!AMR-WB\n" + (b"\x44" + bytes(60)) * frames


def ac3_frame() -> bytes:
    """AC-3, 48 kHz, 192 kbit/s: 768 bytes."""
    return b"\x0b\x77\0\0" + bytes((0x14, 8 << 3)) + bytes(762)


def eac3_frame() -> bytes:
    """E-AC-3, 48 kHz, 400 bytes."""
    return b"\x0b\x77" + struct.pack(">H", 199) + bytes((0x3F, 16 << 3)) + bytes(394)


def dts_frame(length: int = 512) -> bytes:
    """A DTS core frame."""
    header = 1 << 63 | 31 << 58 | 15 << 50 | (length - 1) << 36
    return b"\x7f\xfe\x80\x01" + struct.pack(">Q", header) + bytes(length - 12)


def dts_extension(length: int = 96) -> bytes:
    """A DTS-HD extension substream with short size fields."""
    return b"\x64\x58\x20\x25\0" + ((length - 1) << 21).to_bytes(6, "big") + bytes(length - 11)


def stream_info(*, smallest: int = 4096, largest: int = 4096, rate: int = 16_000) -> bytes:
    """FLAC's STREAMINFO, mono and 16 bits."""
    return struct.pack(">HH", smallest, largest) + bytes(6) + (rate << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)


def flac(*blocks: tuple[int, bytes], info: bytes = stream_info(), frame: bytes = b"\xff\xf8") -> bytes:
    """A FLAC file with these further metadata blocks (type and body)."""
    content = b"fLaC"
    every = ((0, info), *blocks)
    for number, (kind, body) in enumerate(every, 1):
        last = 0x80 if number == len(every) else 0
        content += bytes((kind | last,)) + len(body).to_bytes(3, "big") + body
    return content + frame + bytes(1000)


def ogg_page(body: bytes, *, flags: int = 0, stream: int = 1) -> bytes:
    """One page; its checksum is left out."""
    lacing = bytes((255,)) * (len(body) // 255) + bytes((len(body) % 255,))
    return b"OggS\0" + struct.pack("<BqIIIB", flags, 0, stream, 0, 0, len(lacing)) + lacing + body


def ogg(*starts: bytes, rest: bytes = ogg_page(bytes(300))) -> bytes:
    """Streams that begin with these packets, then their pages."""
    pages = (ogg_page(start, flags=2, stream=number) for number, start in enumerate(starts))
    return b"".join(pages) + rest


def element(name: str, body: bytes, *, unknown: bool = False) -> bytes:
    """An EBML element with an 8-byte size."""
    size = b"\x01" + (b"\xff" * 7 if unknown else len(body).to_bytes(7, "big"))
    return bytes.fromhex(name) + size + body


def track(kind: int) -> bytes:
    """A Matroska TrackEntry with its number and type."""
    return element("ae", element("d7", b"\1") + element("83", bytes((kind,))))


def matroska(*tracks: bytes, doc_type: bytes = b"webm", before: bytes = b"", after: bytes = b"") -> bytes:
    """A Matroska file of a live recording: its segment's size is unknown."""
    body = before + element("1654ae6b", b"".join(tracks)) + after + element("1f43b675", SPEECH, unknown=True)
    return element("1a45dfa3", element("4282", doc_type)) + element("18538067", body, unknown=True)


def box(name: bytes, *bodies: bytes) -> bytes:
    """An ISO box."""
    body = b"".join(bodies)
    return struct.pack(">I", 8 + len(body)) + name + body


def trak(handler: bytes) -> bytes:
    """A track whose media handler is this."""
    return box(b"trak", box(b"tkhd", bytes(84)), box(b"mdia", box(b"mdhd", bytes(24)), box(b"hdlr", bytes(8), handler)))


def mp4(*handlers: bytes, brand: bytes = b"isom") -> bytes:
    """An MP4 file with its index in front."""
    return box(b"ftyp", brand, bytes(4), brand) + box(b"moov", *map(trak, handlers)) + box(b"mdat", SPEECH)


ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")


def asf(*streams: bytes, padding: int = 0) -> bytes:
    """An ASF file with these stream types in its header."""
    properties = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
    objects = b"".join(properties + struct.pack("<Q", 78) + stream + bytes(38) for stream in streams) + bytes(padding)
    header = struct.pack("<QI", 30 + len(objects), len(streams)) + b"\1\2"
    return bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + header + objects + bytes(500)


def ape(*, version: int = 3990, channels: int = 2, rate: int = 44_100) -> bytes:
    """A Monkey's Audio file of a new or an old version."""
    if version < 3980:
        return b"MAC " + struct.pack("<HHHHI", version, 2000, 0, channels, rate) + bytes(500)
    descriptor = b"MAC " + struct.pack("<HHII", version, 0, 52, 24) + bytes(36)
    return descriptor + struct.pack("<HHIIIHHI", 2000, 0, 73728, 1, 1, 16, channels, rate) + bytes(500)


def mpc7() -> bytes:
    """A Musepack file of stream version 7."""
    return b"MP+\x07" + struct.pack("<I", 100) + bytes(500)


def mpc8() -> bytes:
    """A Musepack file of stream version 8."""
    return b"MPCK" + b"SH\x0f" + bytes(4) + b"\x08" + bytes(7) + b"RG\x0c" + bytes(500)


def dsf(channels: int = 2) -> bytes:
    """A DSF file."""
    described = b"fmt " + struct.pack("<QIIIII", 52, 1, 0, 2, channels, 2_822_400) + bytes(20)
    return b"DSD " + struct.pack("<QQQ", 28, 1000, 0) + described + bytes(500)


def dff() -> bytes:
    """A DSDIFF file."""
    return b"FRM8" + struct.pack(">Q", 1000) + b"DSD FVER" + struct.pack(">QI", 4, 0x01050000) + b"PROP" + bytes(500)


def wavpack_block(length: int = 300) -> bytes:
    """A WavPack block."""
    return b"wvpk" + struct.pack("<IH", length - 8, 0x410) + bytes(length - 10)


def tta() -> bytes:
    """A True Audio file."""
    header = b"TTA1" + struct.pack("<HHHII", 1, 2, 16, 44_100, 1000)
    return header + struct.pack("<I", zlib.crc32(header)) + bytes(500)


def tak() -> bytes:
    """A TAK file: stream info, then the end of the metadata."""
    return b"tBaK" + b"\x01\x10\0\0" + bytes(16) + b"\0" * 500
