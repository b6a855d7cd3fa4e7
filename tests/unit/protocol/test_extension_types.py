"""The types that the VS Code extension is built with are those of the protocol as it is."""

from pathlib import Path

from protocol.export import write_typescript

_COMMITTED = Path(__file__).resolve().parents[3] / "clients" / "vscode-stub" / "src" / "protocol"


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*.ts")}


def test_the_types_of_the_extension_are_fresh(tmp_path: Path) -> None:
    """If this fails, run `npm run protocol` in clients/vscode-stub."""
    write_typescript(tmp_path, experimental=True)
    assert _texts(_COMMITTED) == _texts(tmp_path)
