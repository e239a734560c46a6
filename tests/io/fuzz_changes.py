"""Changes of valid files: of their bytes, and of what is packed in them, with sums and lengths put right again."""

import gzip
import io
import json
import re
import struct
import warnings
import zipfile
import zlib

__all__ = ["changed"]

NUMBERS = [0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 1 << 20, 1 << 28, (1 << 31) - 1, 1 << 31,
           (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]  # fmt: skip
WORDS = [b"", b"NaN", b"inf", b"-inf", b"1e999", b"1e-400", b"9" * 40, b"-1", b"0x10", b"null", b"None", b"true",
         b'"', b'""', b"'", b",", b";", b"\t", b"\n", b"\r", b"\0", b"\x1b[2J", b"\xef\xbb\xbf", b"\xff\xfe",
         b"\xed\xa0\x80", "\u202e".encode(), b"=1+1", b"(" * 99, b"[" * 5000, b"{}", b"coords"]  # fmt: skip
VALUES = [None, True, False, 0, 1, -1, 5, 0.5, -0.0, 1e308, 1 << 70, float("nan"), float("inf"), "", "x", "0",
          "\ud800", [], [[]], {}, {"x": 1}, [1, 2, 3], "F64", "I32", "F8_E4M3", "a" * 5000]  # fmt: skip

_NOTHING_LEFT = (
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    OSError,
    zlib.error,
    zipfile.BadZipFile,
    struct.error,
)


def changed(rng, name, data, others):
    """Change a file.

    Parameters
    ----------
    rng
        A `random.Random`.
    name
        Of the file; its ending says what may be unpacked.
    data
        Its bytes.
    others
        Bytes of other files, pieces of which are put into it.

    Returns
    -------
    bytes
    """
    inside = _INSIDE.get(name.rsplit(".", 1)[-1].lower())
    if inside is not None and rng.random() < 0.6:
        try:
            return inside(rng, data, others)
        except _NOTHING_LEFT:
            pass  # an earlier change left nothing to unpack
    return _bytes(rng, data, others)


def _bytes(rng, data, others):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 9])):
        _CHANGES[rng.randrange(len(_CHANGES))](rng, data, others)
    return bytes(data)


# ---- of bytes ----------------------------------------------------------------------------------------------------


def _place(rng, data):
    """Heads of files matter more than what follows."""
    most = len(data) if rng.random() < 0.6 else min(len(data), 512)
    return rng.randrange(most) if most else 0


def _flip(rng, data, _):
    for _ in range(rng.choice([1, 1, 2, 8])):
        if data:
            data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _number(rng, data, _):
    place, length, order = _place(rng, data), rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
    value = rng.choice(NUMBERS)
    if rng.random() < 0.4:
        held = int.from_bytes(data[place : place + length], order)
        value = rng.choice([held + 1, held - 1, held * 2, held << 8, held << 16, held // 2, -held])
    data[place : place + length] = (value % (1 << 8 * length)).to_bytes(length, order)


def _truncate(rng, data, _):
    del data[_place(rng, data) :]


def _splice(rng, data, others):
    other, place = rng.choice(others), _place(rng, data)
    begin = rng.randrange(len(other))
    piece = other[begin : begin + rng.choice([4, 16, 64, 512, 4096])]
    data[place : place + rng.choice([0, len(piece)])] = piece


def _move(rng, data, _):
    begin, place, length = _place(rng, data), _place(rng, data), rng.choice([1, 2, 4, 8, 32, 256])
    piece = bytes(data[begin : begin + length])
    if rng.random() < 0.5:
        del data[begin : begin + length]
    data[place:place] = piece * rng.choice([0, 1, 1, 2, 50, 1000])


def _digits(rng, data, _):
    found = list(re.finditer(rb"\d+", bytes(data)))
    if found:
        one = rng.choice(found)
        number = rng.choice([*map(str, NUMBERS), "1" + "0" * rng.randrange(30), "-" + one[0].decode(), "1e9", "0.5"])
        data[one.start() : one.end()] = number.encode()


def _word(rng, data, _):
    place = _place(rng, data)
    data[place : place + rng.choice([0, 0, 1, 4])] = rng.choice(WORDS)


_CHANGES = (_flip, _flip, _number, _number, _number, _truncate, _splice, _move, _digits, _word)


# ---- of what is packed -------------------------------------------------------------------------------------------


def _in_gzip(rng, data, others):
    return gzip.compress(_bytes(rng, gzip.decompress(data), others))


def _in_png(rng, data, others):
    """Change one chunk and put its sum right, and now and then what its pixels unpack to."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    number = rng.randrange(len(chunks))
    kind, content = chunks[number]
    if kind == b"IDAT" and rng.random() < 0.7:
        content = zlib.compress(_bytes(rng, zlib.decompress(content), others))
    else:
        content = _bytes(rng, content, others)
    chunks[number] = (kind, content)
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    whole = [struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
             for kind, content in chunks]  # fmt: skip
    return data[:8] + b"".join(whole)


def _in_zip(rng, data, others):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    number = rng.randrange(len(members))
    name, content = members[number]
    members[number] = (name, _bytes(rng, content, others))
    if rng.random() < 0.1:
        members.append((rng.choice(["features.npy", "archive/data/9", "../x", "x" * 300]), content))
    packing = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packing) as archive:
        for name, content in members:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a name stands twice is meant
                archive.writestr(name, content)
    return made.getvalue()


def _in_safetensors(rng, data, others):
    (length,) = struct.unpack_from("<Q", data)
    head, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    said, chance = head.get("__metadata__", {}), rng.random()
    if chance < 0.3:
        values = _with_number(rng, head, values)
    elif chance < 0.4:
        values = _bytes(rng, values, others)
    elif chance < 0.8 and "bagwise" in said:
        said["bagwise"] = json.dumps(_json(rng, json.loads(said["bagwise"])))
    else:
        head = _json(rng, head)
    text = json.dumps(head).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + values


def _with_number(rng, head, values):
    """Change one number of a tensor, such as an index, to what may be out of its range, or no number."""
    told = rng.choice([one for name, one in head.items() if name != "__metadata__"])
    form = {"I64": "q", "I8": "b", "F64": "d", "F32": "f", "BOOL": "B"}[told["dtype"]]
    begin, end = told["data_offsets"]
    place = begin + rng.randrange((end - begin) // struct.calcsize(form)) * struct.calcsize(form)
    (held,) = struct.unpack_from(f"<{form}", values, place)
    floats = [held + 1, -held, 0.0, 1e308, -1e38, 1e-320, float("nan"), float("inf")]
    signed = [held + 1, held - 1, -held - 1, *(number for number in NUMBERS if number < 1 << 63)]
    value = rng.choice(floats if form in "df" else signed if form == "q" else [0, 1, 2, 100])
    changed = bytearray(values)
    struct.pack_into(f"<{form}", changed, place, value)
    return bytes(changed)


def _in_json(rng, data, _):
    return json.dumps(_json(rng, json.loads(data))).encode("utf-8", "surrogatepass")


def _json(rng, held):
    """Change one value, somewhere."""
    if isinstance(held, dict | list) and held and rng.random() < 0.85:
        keys = list(held) if isinstance(held, dict) else list(range(len(held)))
        key = rng.choice(keys)
        if rng.random() < 0.1:
            held.pop(key)
        elif isinstance(held, dict) and rng.random() < 0.1:
            held[rng.choice(["x", "features", "__metadata__", "\ud800", ""])] = held.pop(key)
        else:
            held[key] = _json(rng, held[key])
        return held
    if isinstance(held, int | float) and not isinstance(held, bool) and rng.random() < 0.5:
        return rng.choice([held + 1, held - 1, held * 2, -held, held * 10**9, float(held), str(held), *NUMBERS])
    if rng.random() < 0.03:
        return json.loads("[" * 900 + "]" * 900)
    return rng.choice([*VALUES, [held], [held] * 3, {"x": held}])


_INSIDE = {
    "gz": _in_gzip,
    "png": _in_png,
    "npz": _in_zip,
    "pt": _in_zip,
    "safetensors": _in_safetensors,
    "json": _in_json,
}
