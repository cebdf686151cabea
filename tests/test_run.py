"""Which tests run where: a list that names a module wrongly would leave tests out, and nobody would notice."""

from __future__ import annotations

import pytest

from tests import run

SQLITE = run.Server("SQLite", "sqlite:///x", version="3")
POSTGRESQL = run.Server("PostgreSQL", "postgres://x", version="17")
NODE = run.Server("node", "node", version="22")
CHROMIUM = run.Server("Chromium", "chromium", version="156")
MODULES = {path.stem for path in run.TESTS.glob("test_*.py")}


def test_the_lists_name_modules_and_share_none():
    assert {*run.ANY_DATABASE, *run.SERVER_DECIDES, *run.Run(SQLITE, None).left_out(False)} <= MODULES
    assert not {*run.ANY_DATABASE} & {*run.SERVER_DECIDES}


@pytest.mark.parametrize("everything", [True, False])
def test_on_sqlite_all_modules_run(everything):
    assert run.Run(SQLITE, None, NODE, CHROMIUM).left_out(everything) == ()
    assert run.Run(SQLITE, None, NODE).left_out(everything) == run.IN_CHROMIUM
    without_node = ("test_browser_module", "test_javascript_clients", "test_browser", "test_devices_browser")
    assert run.Run(SQLITE, None).left_out(everything) == without_node


def test_on_a_server_those_run_that_know_the_database_or_whose_result_it_decides():
    on_server = run.Run(POSTGRESQL, None)
    assert MODULES - {*on_server.left_out(True)} == MODULES - {*run.ANY_DATABASE}
    assert MODULES - {*on_server.left_out(False)} == {*run.SERVER_DECIDES}
