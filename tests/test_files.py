"""Tables that people wrote: read as they were meant, whatever program kept them."""

import csv

import pytest

from carsclf.files import table_of


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_separated_as_the_first_line_does_it(separator: str) -> None:
    lines = [["id", " who"], ["1", f"me{separator} too"], ["2", "you, or; them"]]
    text = "\r\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)
    read = list(table_of(text.splitlines(keepends=True), "this"))
    assert read == [{"id": "1", "who": f"me{separator} too"}, {"id": "2", "who": "you, or; them"}]


def test_one_column_and_none() -> None:
    assert list(table_of(["id\n", "a;b\n"], "this")) == [{"id": "a;b"}]
    assert list(table_of([], "this")) == []


def test_a_quote_that_is_not_closed() -> None:
    with pytest.raises(csv.Error):
        list(table_of(["id;who\n", '1;"me\n', "2;you\n"], "this"))
