"""Commands as text can be pasted into a shell."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_server.execpolicy.quoting import join, quote


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("a+b.c/d:e@f]g_-1", "a+b.c/d:e@f]g_-1"),
        ("", "''"),
        ("a=b", "'a=b'"),
        ("a b", "'a b'"),
        ("é", "'é'"),
        ("it's", '"it\'s"'),
        ("a\\b", '"a\\\\b"'),
        ("it's $x", "\"it's \"'$x'"),
        ("a^b", "a'^b'"),
        ("'a' \"b\" $c", "\"'a' \\\"b\\\" \"'$c'"),
    ],
)
def test_words_are_quoted_as_clients_know_it(word: str, text: str) -> None:
    assert quote(word) == text


@given(words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_the_text_means_the_words(words: list[str]) -> None:
    assert shlex.split(join(words)) == words


def test_a_shell_reads_the_words() -> None:
    words = ["a b", "it's", "$HOME", "`x`", "a^'b", "!x'", "\\n", '"', "*", "~", "\n", ""]
    ran = subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {join(words)}"], capture_output=True, check=True)
    assert ran.stdout.decode().split("\0")[:-1] == words
