"""Reading the files that settings name.

The one rule: whatever a path leads to, a bounded number of bytes is read of it.
"""

import errno
import os
import stat

KiB, MiB = 1 << 10, 1 << 20
# Of a configuration or a list of prices; of a key in text, which has to fit into a header section.
MOST_TEXT, MOST_KEY_TEXT = MiB, 16 * KiB
_MOST_CERTIFICATES = 4 * MiB  # all that a system trusts are a quarter of a MiB


def contents(path: str, most: int) -> tuple[bytes, bool]:
    """What a file holds, and whether every user can read it.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes; the reason is in `strerror`.
    """
    with open(path, "rb") as file:
        data = file.read(most + 1)
        if len(data) > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes", path)
        return data, bool(os.fstat(file.fileno()).st_mode & 0o004)


def certificates(path: str) -> bytes:
    """What a file of certificates, or of their keys, holds. It is read more than once.

    Raises:
        OSError: as `contents`, or it is a pipe.
    """
    if stat.S_ISFIFO(os.stat(path).st_mode):
        raise OSError(errno.ESPIPE, "it is a pipe, which can be read only once", path)
    return contents(path, _MOST_CERTIFICATES)[0]
