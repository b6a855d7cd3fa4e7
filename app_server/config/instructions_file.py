"""`model_instructions_file`: a file whose text takes the place of what the model is told first."""

import os
import stat

from app_server.config.table import TableReader

INSTRUCTIONS_FILE = "model_instructions_file"

MAX_BYTES = 1 << 20
"""A file that is larger is meant for something else."""


def read_instructions(reader: TableReader) -> str | None:
    """The text of the file, without white space around it; None if none is named. Blocks on the file.

    What is wrong with it is decisive: a model that was not told what it must not do would do it.
    """
    path = reader.text(INSTRUCTIONS_FILE, decisive=True)
    if path is None:
        return None
    text, reason = _read(path)
    if reason is not None:
        reader.problem(INSTRUCTIONS_FILE, f"{path} cannot be used: {reason}", decisive=True)
    return text


def _read(path: str) -> tuple[str | None, str | None]:
    """The text, or why there is none."""
    if not os.path.isabs(path):
        return None, "outside of files the path must be absolute"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None, "it is no regular file"
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            return None, f"it is larger than {MAX_BYTES >> 20} MiB"
        return (found, None) if (found := text.decode("utf-8-sig").strip()) else (None, "it is empty")
    except UnicodeDecodeError:
        return None, "it is not UTF-8"
    except (OSError, ValueError) as error:
        return None, (error.strerror if isinstance(error, OSError) else None) or str(error)
