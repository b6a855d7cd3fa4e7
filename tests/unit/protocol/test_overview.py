"""The document of all methods."""

from pathlib import Path

from protocol.export import import_all
from protocol.methods import ClientRequest, ServerNotification, ServerRequest, registered
from protocol.overview import markdown

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "methods.md"
STATES = {"works": "works", "account": "needs an account", "later": "later"}


def test_the_document_is_what_the_descriptors_say() -> None:
    written = DOCUMENT.read_text("utf-8")
    assert written == markdown(), "write it again: python -m protocol.overview docs/methods.md"


def test_every_method_has_one_row_with_its_stability_and_state() -> None:
    import_all()
    rows = [line.split(" | ") for line in markdown().splitlines() if line.startswith("| `")]
    found = {row[0].strip("|` "): tuple(cell.strip("| ") for cell in row[1:3]) for row in rows}
    requests = list(registered(ClientRequest))
    others = [*registered(ServerRequest), *registered(ServerNotification)]
    assert len(rows) == len(found) == len(requests) + len(others)
    for request in requests:
        stability = "stable" if request.experimental is None else "experimental"
        assert found[request.method] == (stability, STATES[request.availability])
