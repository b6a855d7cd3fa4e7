"""What `initialize` loads."""

import subprocess
import sys


def test_the_handshake_loads_no_other_part_of_the_protocol() -> None:
    code = "import protocol.v1, sys; print(sorted(name for name in sys.modules if name.startswith('protocol.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == str(["protocol.methods", "protocol.v1", "protocol.wire"])
