"""Which commands are only a patch in disguise, and which are left to the shell."""

import pytest

from app_server.tools.patch_command import PatchCommand, intercept

PATCH = "*** Begin Patch\n*** Delete File: a\n*** End Patch"


@pytest.mark.parametrize(
    "script",
    [
        f"apply_patch <<'EOF'\n{PATCH}\nEOF",
        f"apply_patch <<'EOF'\n{PATCH}\nEOF\n\n",
        f'  apply_patch <<"EOF"\n{PATCH}\nEOF\n',
        f"apply_patch <<EOF\n{PATCH}\nEOF\n",
        f"applypatch << 'PATCH'\n{PATCH}\nPATCH\n",
        f"apply_patch<<'E_1'\n{PATCH}\nE_1\n",
        f"\n\tapply_patch '{PATCH}'\n",
        f"{PATCH}\n",
    ],
)
def test_a_script_that_only_applies_a_patch_is_one(script: str) -> None:
    assert intercept(script, "/project") == PatchCommand(PATCH, "/project")
    assert intercept(["/bin/bash", "-lc", script], "/project") == PatchCommand(PATCH, "/project")
    assert intercept(["sh", "-c", script], "/project") == PatchCommand(PATCH, "/project")


@pytest.mark.parametrize(
    ("folder", "cwd"),
    [
        ("sub", "/project/sub"),
        ("'a b'", "/project/a b"),
        ('"a b"', "/project/a b"),
        ("..", "/"),
        ("/etc", "/etc"),
        ("./x/../y", "/project/y"),
    ],
)
def test_it_may_change_the_folder_first(folder: str, cwd: str) -> None:
    assert intercept(f"cd {folder} && apply_patch <<'EOF'\n{PATCH}\nEOF\n", "/project") == PatchCommand(PATCH, cwd)


def test_the_program_itself_may_be_called() -> None:
    assert intercept(["apply_patch", PATCH], "/project") == PatchCommand(PATCH, "/project")
    assert intercept(["/usr/bin/applypatch", "nonsense"], "/project") == PatchCommand("nonsense", "/project")


def test_a_faulty_patch_is_still_one_so_that_the_model_reads_what_is_wrong() -> None:
    assert intercept("apply_patch <<'EOF'\nnonsense\nEOF\n", "/project") == PatchCommand("nonsense", "/project")


def test_tabs_before_lines_go_where_the_shell_takes_them_away() -> None:
    script = "apply_patch <<-EOF\n\t*** Begin Patch\n\t\t*** Delete File: a\n\t*** End Patch\n\tEOF\n"
    assert intercept(script, "/project") == PatchCommand(PATCH, "/project")


def test_what_looks_like_the_end_within_a_line_is_content() -> None:
    text = "*** Begin Patch\n*** Add File: a\n+EOF\n EOF\nEOFX\n*** End Patch"
    assert intercept(f"apply_patch <<'EOF'\n{text}\nEOF\n", "/project") == PatchCommand(text, "/project")


@pytest.mark.parametrize(
    "script",
    [
        "",
        "ls",
        "echo apply_patch",
        f"apply_patch <<'EOF'\n{PATCH}\nEOF\necho done",
        f"apply_patch <<'EOF' && rm -rf x\n{PATCH}\nEOF\n",
        f"apply_patch <<'EOF' > log\n{PATCH}\nEOF\n",
        f"apply_patch <<'EOF'\n{PATCH}\n",
        f"apply_patch <<'EOF'\n{PATCH}\nEOF \n",
        f"apply_patch <<\"EOF'\n{PATCH}\nEOF\n",
        f"apply_patch --help <<'EOF'\n{PATCH}\nEOF\n",
        f"cat <<'EOF' | apply_patch\n{PATCH}\nEOF\n",
        f"sudo apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"X=1 apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd sub; apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd sub || apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd a && cd b && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd ~ && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd $HOME && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd \"$(rm x)\" && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd `rm x` && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd '' && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd -P && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f"cd - && apply_patch <<'EOF'\n{PATCH}\nEOF\n",
        f'apply_patch "{PATCH}"',
        f"apply_patch '{PATCH}' extra",
        f"{PATCH}; ls",
    ],
)
def test_every_other_script_is_left_to_the_shell(script: str) -> None:
    assert intercept(script, "/project") is None


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["apply_patch"],
        ["apply_patch", PATCH, "more"],
        ["bash", "-x", f"apply_patch '{PATCH}'"],
        ["python", "-c", f"apply_patch '{PATCH}'"],
        ["bash", "-c", f"apply_patch '{PATCH}'", "name"],
    ],
)
def test_every_other_argv_is_left_to_the_shell(argv: list[str]) -> None:
    assert intercept(argv, "/project") is None
