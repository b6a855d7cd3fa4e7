"""What can go wrong with durable state, in words that a user can act on."""


class StoreError(Exception):
    """Durable state could not be read or written; the text names the file and the remedy."""


class BadCursor(ValueError):
    """A paging cursor that this store did not make, or made for another list."""

    def __init__(self, cursor: str) -> None:
        super().__init__(f"invalid cursor: {cursor}")


class ThreadMissing(LookupError):
    """No thread with this id is stored."""

    def __init__(self, thread_id: str) -> None:
        super().__init__(f"thread not found: {thread_id}")
        self.thread_id = thread_id


class TurnMissing(LookupError):
    """The thread has no turn with this id."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"turn not found: {turn_id}")
        self.turn_id = turn_id


class ThreadInUse(Exception):
    """Another live daemon owns the thread. `pid` and `address` tell where it can be reached."""

    def __init__(self, thread_id: str, pid: int, address: str) -> None:
        super().__init__(
            f"thread {thread_id} is open in another turnloom daemon (pid {pid}, listening on {address}); "
            "connect there, or stop that daemon first"
        )
        self.thread_id, self.pid, self.address = thread_id, pid, address
