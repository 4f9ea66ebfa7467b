"""Reading the files that settings name.

The one rule: whatever a path leads to, a bounded number of bytes is read of it, and nobody who
should write there is waited for without end.
"""

import errno
import os
import stat
from io import FileIO
from select import POLLHUP, POLLIN, poll

KiB, MiB = 1 << 10, 1 << 20
# Of a configuration or a list of prices; of a key in text, which has to fit into a header section.
MOST_TEXT, MOST_KEY_TEXT = MiB, 16 * KiB
_MOST_CERTIFICATES = 4 * MiB  # all that a system trusts are a quarter of a MiB
# Seconds that a pipe may be without a writer, and that a writer may be silent: it could have to ask
# a person for a password.
_NO_WRITER, _SILENT = 5.0, 60.0


def contents(path: str, most: int) -> tuple[bytes, bool]:
    """What a file or a pipe holds, and whether every user can read it.

    Raises:
        OSError: it cannot be read, has more than `most` bytes, or is a pipe that nobody writes to;
            the reason is in `strerror`.
    """
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        data = _read(file, most + 1, path)
        if len(data) > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes", path)
        return data, bool(os.fstat(file.fileno()).st_mode & 0o004)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe with a name would wait for its writer, here and when it is read."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _read(file: FileIO, most: int, path: str) -> bytes:
    """Up to `most` bytes. A pipe without a writer looks empty until it has had one."""
    pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
    waiting = poll()
    waiting.register(file, POLLIN)
    data = bytearray()
    while len(data) < most:
        piece = file.read(most - len(data))
        if piece:
            data += piece
            continue
        if piece is not None and (data or not pipe):
            break
        seconds = _SILENT if piece is None else _NO_WRITER
        happened = waiting.poll(seconds * 1000)
        if not happened:
            reason = f"nothing was written to it for {seconds:.0f} seconds"
            raise OSError(errno.ETIMEDOUT, reason, path)
        if happened[0][1] == POLLHUP:  # its writer left without a word
            break
    return bytes(data)


def certificates(path: str) -> bytes:
    """What a file of certificates, or of their keys, holds. It is read more than once.

    Raises:
        OSError: as `contents`, or it is a pipe.
    """
    if stat.S_ISFIFO(os.stat(path).st_mode):
        raise OSError(errno.ESPIPE, "it is a pipe, which can be read only once", path)
    return contents(path, _MOST_CERTIFICATES)[0]
