"""Whatever the paths and the query are, what the shortcuts of a search choose is what scoring each path would."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app_server.files.fuzzy import bonuses, char_class, fit, fold, parse
from app_server.files.ignore import IgnoreFile
from tests.unit.files.searching import ranked

_NAMES = st.text(st.sampled_from("aAbB1._- \N{LATIN SMALL LETTER E WITH ACUTE}"), min_size=1, max_size=7)
_PATHS = st.builds("{}{}".format, st.lists(_NAMES, min_size=1, max_size=3).map("/".join), st.sampled_from(["", "/"]))
_QUERIES = st.text(st.sampled_from("aAbB1._-/ '^$!e"), min_size=1, max_size=5).filter(str.strip)


@given(_QUERIES, st.lists(_PATHS, unique=True, max_size=40), st.integers(1, 5))
def test_the_chosen_ones_are_the_best_of_all(query: str, paths: list[str], limit: int) -> None:
    everything = ranked(query, *paths, limit=10_000)
    best = sorted(everything, key=lambda hit: (-hit.score, len(hit.path), hit.path, hit.is_folder))[:limit]
    chosen = ranked(query, *paths, limit=limit)
    assert [hit.score for hit in chosen] == [hit.score for hit in sorted(best, key=lambda hit: -hit.score)]
    assert {(hit.path, hit.is_folder) for hit in chosen} <= {(hit.path, hit.is_folder) for hit in everything}


@given(st.text(st.sampled_from("ab1_/"), min_size=1, max_size=4), st.lists(_PATHS, unique=True, max_size=20))
def test_a_path_is_found_if_it_has_the_characters_in_this_order(query: str, paths: list[str]) -> None:
    pattern = re.compile(".*".join(map(re.escape, query)))
    there = {path for path in paths if pattern.search(fold(path.removesuffix("/")))}
    assert {hit.path + "/" * hit.is_folder for hit in ranked(query, *paths, limit=10_000)} == there


@given(_QUERIES, _PATHS)
def test_the_characters_that_matched_are_those_of_the_query(query: str, path: str) -> None:
    text = path.removesuffix("/")
    worth = bonuses([char_class(char) for char in text])
    for word in parse(query).words:
        found = fit(word, fold(text), worth)
        if found is not None:
            assert "".join(fold(text)[place] for place in found.places) == word.text
            assert list(found.places) == sorted(set(found.places))


@given(st.text(st.sampled_from("ab*?[]!^-/\\# "), max_size=12), st.text(st.sampled_from("ab/"), min_size=1, max_size=8))
def test_any_line_of_a_gitignore_is_read_and_answers(line: str, path: str) -> None:
    name = path.rstrip("/").rpartition("/")[2]
    assert IgnoreFile("/root", [line]).verdict(name, f"/root/{path}", True) in (True, False, None)
