"""What all tests share: no deadlines, because a busy machine is no bug; and a detector of code that blocks the loop."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if settings.get_current_profile_name() == "ci" else "here")

MAY_BLOCK = {
    # A child is started in the loop's own thread, because a sandbox dies with the thread that started it; these are
    # the few file system calls around it.
    "app_server/exec/spawn.py": {"candidates", "check_program", "_directory_failure", "seal_descriptors"},
    "app_server/exec/sessions.py": {"absolute_cwd"},
    "app_server/sandbox/bubblewrap.py": {"wrap", "_hand_over", "_release"},
    # /proc is memory.
    "app_server/exec/proctree.py": {"stat", "variable", "children", "children_of_thread", "_children_by_search"},
}
"""File name ends and the functions in them that may block the loop, each with its reason."""


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[BlockBuster]:
    """Fails a test in which a function of the program blocks the event loop."""
    import jsonrpcserver  # noqa: F401  # reads its schema from a file, once

    with blockbuster_ctx(["app_server", "protocol"]) as detector:
        detector.functions["os.getcwd"].deactivate()
        for file, names in MAY_BLOCK.items():
            for function in detector.functions.values():
                function.can_block_in(file, names)
        yield detector
