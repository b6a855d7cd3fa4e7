"""What comes in with the door for requests."""

import subprocess
import sys


def test_the_door_needs_no_validator_of_schemas_and_leaves_the_real_one_alone() -> None:
    script = """
import sys
from app_server.rpc.door import open_door
from app_server.rpc.dispatch import Surface
open_door(Surface(lambda method: None, None, None))
assert "jsonrpcserver" in sys.modules and "jsonschema" not in sys.modules and "attr" not in sys.modules
import jsonschema.validators
jsonschema.validators.validator_for({}).check_schema({"type": "object"})
"""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
