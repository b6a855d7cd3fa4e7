import threading
from threading import Event

import anyio
import pytest
from anyio import to_thread

from app_server.files.fuzzy import EXACT_BONUS, NAME_BONUS, Query, Word, parse
from app_server.files.listing import Abandoned
from app_server.files.ranking import Hit, best
from tests.unit.files.searching import chunks, found, ranked


@pytest.mark.parametrize(
    ("query", "words", "plain"),
    [
        ("main", [("fuzzy", "main", False)], "main"),
        ("  Main ", [("fuzzy", "main", False)], "main"),
        ("src main", [("fuzzy", "src", False), ("fuzzy", "main", False)], None),
        ("src/main", [("fuzzy", "src/main", False)], None),
        ("'main", [("substring", "main", False)], None),
        ("^src", [("prefix", "src", False)], None),
        ("rs$", [("suffix", "rs", False)], None),
        ("^a.rs$", [("exact", "a.rs", False)], None),
        ("'a$", [("substring", "a$", False)], None),
        ("!lib", [("substring", "lib", True)], None),
        ("!^src", [("prefix", "src", True)], None),
        ("!rs$", [("suffix", "rs", True)], None),
        (r"\!a", [("fuzzy", "!a", False)], None),
        (r"\^a", [("fuzzy", "^a", False)], None),
        (r"\'a", [("fuzzy", "'a", False)], None),
        (r"a\$", [("fuzzy", "a$", False)], None),
        (r"a\ b c", [("fuzzy", "a b", False), ("fuzzy", "c", False)], None),
        ("a$b", [("fuzzy", "a$b", False)], "a$b"),
        ("\N{LATIN CAPITAL LETTER U WITH DIAERESIS}x", [("fuzzy", "ux", False)], "ux"),
        ("! ^ $ '", [], None),
        ("", [], None),
    ],
)
def test_a_query_is_read_word_by_word(query: str, words: list[tuple[str, str, bool]], plain: str | None) -> None:
    assert parse(query) == Query(tuple(Word(*word) for word in words), plain)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("query", "path", "score", "places"),
    [
        # A name that begins with the query, and words within names: after a slash counts most.
        ("target", "deep/target.py", NAME_BONUS + 159, [5, 6, 7, 8, 9, 10]),
        ("target", "x_target.py", NAME_BONUS + 152, [2, 3, 4, 5, 6, 7]),
        ("target", "mytarget.py", NAME_BONUS + 116, [2, 3, 4, 5, 6, 7]),
        ("x", "targetX.py", NAME_BONUS + 26, [6]),
        ("10", "file10.txt", NAME_BONUS + 47, [4, 5]),
        # Gaps.
        ("readme", "docs/read-me.md", NAME_BONUS + 154, [5, 6, 7, 8, 10, 11]),
        ("rm", "README.md", NAME_BONUS + 50, [0, 7]),
        ("rm", "src/lib/mainFrame.rs", NAME_BONUS + 29, [13, 15]),
        ("cCN", "camelCaseName.js", NAME_BONUS + 65, [0, 5, 9]),
        # What the name alone does not have is looked for in the path.
        ("rm", "src/main.rs", 37, [1, 4]),
        ("src/main", "src/lib/mainFrame.rs", 203, [0, 1, 2, 3, 8, 9, 10, 11]),
        ("fz", "foo.bar/baz.qux", 39, [0, 10]),
        # Names that are the query, of files and folders.
        ("exact.name", "ex/Exact.Name", EXACT_BONUS + NAME_BONUS + 259, list(range(3, 13))),
        ("exact.name", "ez/exact.name/", EXACT_BONUS + 259, list(range(3, 13))),
        ("empty", "emptydir/", 134, [0, 1, 2, 3, 4]),
        # Several words add up, and names do not count more.
        ("foo bar", "foo.bar/baz.qux", 164, [0, 1, 2, 4, 5, 6]),
        ("c d", "a b/c d.txt", 66, [4, 6]),
        ("'main", "src/main.rs", 109, [4, 5, 6, 7]),
        ("^src/main.rs$", "src/main.rs", 284, list(range(11))),
        ("!z", "src/main.rs", 0, []),
        # Case and accents do not count; places are code points.
        (
            "unicode",
            "\N{LATIN SMALL LETTER E WITH ACUTE}/\u00dcn\u00efcode.txt",
            NAME_BONUS + 184,
            [2, 3, 4, 5, 6, 7, 8],
        ),
        ("\u8a9e", "\u65e5\u672c/\u8a9e.txt", NAME_BONUS + 34, [3]),
        ("x", "emoji\U0001f600x.txt", NAME_BONUS + 32, [6]),
        ("strase", "stra\u00dfe", EXACT_BONUS + NAME_BONUS + 159, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_score_of_a_path_and_the_characters_that_the_query_matched(
    query: str, path: str, score: int, places: list[int]
) -> None:
    [hit] = ranked(query, path, "zzz", "zzz/")
    assert (hit.path, hit.score, list(hit.places)) == (path.removesuffix("/"), score, places)
    assert hit.is_folder == path.endswith("/")


def test_the_best_come_first_and_equals_by_name() -> None:
    paths = ["src/main.rs", "src/Main_test.rs", "a/remain.txt", "main/x", "main/", "main", "m/a/i/n"]
    assert found("main", *paths) == [
        "main",
        "main",
        "src/Main_test.rs",
        "src/main.rs",
        "a/remain.txt",
        "main/x",
        "m/a/i/n",
    ]


def test_of_too_many_equals_the_shorter_are_taken_and_ordered_by_name() -> None:
    paths = [f"{'s' * length}/hh{'y' * number}.t" for length in (1, 2) for number in range(9, 0, -1)]
    assert [hit.path for hit in ranked("hh", *paths, limit=4)] == ["s/hhy.t", "s/hhyy.t", "s/hhyyy.t", "ss/hhy.t"]


def test_words_exclude_and_must_all_match() -> None:
    paths = ["src/main.rs", "src/lib/main.rs", "docs/main.md", "src/"]
    assert found("main !lib", *paths) == ["docs/main.md", "src/main.rs"]
    assert found("rs$ ^src", *paths) == ["src/lib/main.rs", "src/main.rs"]
    assert found("!main", *paths) == ["src"]
    assert found("main zzz", *paths) == []


async def test_the_loop_goes_on_while_a_hundred_thousand_paths_are_ranked() -> None:
    paths = [f"dir{number % 300}/sub/file_{number}.py" for number in range(100_000)]
    made = chunks(paths)
    turns, hits = 0, list[Hit]()
    async with anyio.create_task_group() as tasks:

        async def turn() -> None:
            nonlocal turns
            while True:
                await anyio.sleep(0.0001)
                turns += 1

        tasks.start_soon(turn)
        hits = await to_thread.run_sync(lambda: best(made, parse("fl"), Event()))
        tasks.cancel_scope.cancel()
    assert len(hits) == 50
    assert turns > 20


def test_a_search_that_nobody_waits_for_stops() -> None:
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(Abandoned):
        best(chunks(["main.rs"]), parse("main"), abandoned)
