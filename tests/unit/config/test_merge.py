"""Laying one table over another."""

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from app_server.config.layer import Layer, contains, leaves, merge, parse_key
from app_server.config.layers import LayerStack
from app_server.config.table import dotted

KEYS = st.sampled_from(["a", "b", "c.d", 'q"x', "ü", "with space"])
VALUES = st.one_of(st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3))
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=3),
    lambda inner: st.dictionaries(KEYS, st.one_of(VALUES, inner), max_size=3),
    max_leaves=12,
)


def merged(*tables: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for table in tables:
        merge(result, table)
    return result


def value_at(table: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = table
    for key in path:
        value = value[key]
    return value


@given(TABLES, TABLES)
def test_every_value_of_the_stronger_table_is_in_force(weak: dict[str, Any], strong: dict[str, Any]) -> None:
    result = merged(weak, strong)
    for path, value in leaves(strong):
        if value == {}:
            assert isinstance(value_at(result, path), dict)
        else:
            assert value_at(result, path) == value


@given(TABLES, TABLES)
def test_a_value_of_the_weaker_table_stays_unless_the_stronger_one_is_in_its_way(
    weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    result = merged(weak, strong)
    strong_paths = [path for path, _ in leaves(strong)]
    for path, value in leaves(weak):
        in_the_way = any(path[: len(other)] == other or other[: len(path)] == path for other in strong_paths)
        if not in_the_way:
            assert value_at(result, path) == value


@given(TABLES, TABLES)
def test_merging_leaves_its_inputs_alone_even_when_the_result_is_changed(
    weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    before = deepcopy((weak, strong))
    result = merged(weak, strong)
    for value in result.values():
        if isinstance(value, list | dict):
            cast("Any", value).clear()
    assert (weak, strong) == before


@given(TABLES)
def test_merging_a_table_with_itself_or_nothing_changes_nothing(table: dict[str, Any]) -> None:
    assert merged(table, table) == merged(table) == merged({}, table) == table


@given(st.lists(TABLES, max_size=3))
def test_the_origin_of_each_value_is_the_last_layer_that_sets_it(tables: list[dict[str, Any]]) -> None:
    layers = tuple(Layer({"type": "user", "file": f"/{number}"}, table) for number, table in enumerate(tables))
    stack = LayerStack(Path("/home"), layers)
    effective, origins = stack.effective(), stack.origins()
    for path, value in leaves(effective):
        if value != {}:
            owner = origins[dotted(path)]
            assert contains(owner.table, path)
            assert value_at(owner.table, path) == value


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_a_dotted_key_is_read_back_as_it_was_written(path: list[str]) -> None:
    assert parse_key(dotted(path)) == tuple(path)
