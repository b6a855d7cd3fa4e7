"""Pseudo-terminals: opening one, its size, and how its input ends."""

import fcntl
import os
import struct
import termios

from msgspec import Struct

VEOF_INDEX = termios.VEOF


class Size(Struct, frozen=True):
    """The size of a terminal in characters."""

    rows: int
    cols: int


DEFAULT_SIZE = Size(24, 80)


def open_terminal(size: Size) -> tuple[int, int, str]:
    """A new terminal: our side, the program's side, and the path by which a child opens the latter.

    A child that opens the path as a session leader without a terminal gets it as its controlling terminal. Keep the
    program's side open until the child was started: the terminal hangs up when its last user closes it.
    """
    master, slave = os.openpty()
    try:
        resize(master, size)
        return master, slave, os.ttyname(slave)
    except OSError:
        os.close(master)
        os.close(slave)
        raise


def resize(master: int, size: Size) -> None:
    """Tell the terminal and, by signal, its foreground processes."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.cols, 0, 0))


def end_of_input(master: int, *, at_line_start: bool) -> bytes:
    """What to write so that the program reads the end of its input.

    Within a line the first end-of-file character only hands that line over.
    """
    try:
        character: bytes = termios.tcgetattr(master)[6][VEOF_INDEX]
    except termios.error:
        character = b"\x04"
    return character if at_line_start else character * 2
