"""The options of `polserve serve`, its help and the table in the docs say what the settings say."""

from pathlib import Path
from typing import Any

import pytest
import typer.main

from polserve.serving.cli import build
from polserve.serving.commands.settings_table import HEAD, settings_table, with_table
from polserve.serving.settings.forms import SettingForm
from polserve.serving.settings.settings import FORMS, load_settings
from tests.support.running import ROOT, polserve


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """The options of the command, by the field of each setting."""
    command: Any = typer.main.get_command(build([]))
    return {parameter.name: parameter for parameter in command.commands["serve"].params}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_setting_is_an_option_that_shows_its_variable_and_default(
    options: dict[str, Any], form: SettingForm
) -> None:
    option = options[form.name]
    assert "/".join([*option.opts, *option.secondary_opts]) == form.flags
    assert option.multiple is form.is_repeatable
    assert option.help == f"{form.meaning} [env var: {form.variable}; default: {form.default}]"


def test_the_defaults_that_are_shown_are_those_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ("all", "the bundled policies", "~/.cache/polserve", "another at each start", "none")
    shown = {name: form.default for name, form in FORMS.items() if form.default not in words}
    assert load_settings(shown) == load_settings({})


def test_the_table_in_the_docs_is_the_one_that_the_settings_make() -> None:
    pages = [page for page in ROOT.glob("docs/**/*.md") if HEAD in page.read_text()]
    assert [with_table(page.read_text()) for page in pages] == [page.read_text() for page in pages], (
        f"write it by `python -m polserve.serving.commands.settings_table {' '.join(map(str, pages))}`"
    )
    assert len(pages) == 1


def test_a_table_that_is_out_of_date_is_replaced_and_the_rest_of_its_page_stays() -> None:
    page = f"# Settings\n\n{HEAD}| `--gone` | `POLSERVE_GONE` | 1 | No more. |\n\nMore.\n"
    assert with_table(page) == f"# Settings\n\n{settings_table()}\nMore.\n"


def test_a_flag_and_a_variable_that_make_no_sense_are_named_as_they_were_written() -> None:
    by_flag = polserve("serve", "--max-batch", "0")
    by_variable = polserve("serve", POLSERVE_MAX_BATCH="0")
    assert by_flag.stderr == "error: --max-batch: expected a whole number from 1 to 4096, got '0'\n"
    assert by_variable.stderr == "error: POLSERVE_MAX_BATCH: expected a whole number from 1 to 4096, got '0'\n"
    assert by_flag.returncode == by_variable.returncode == 2


def test_a_role_for_strangers_without_rules_for_others_is_refused() -> None:
    started = polserve("serve", "--anonymous", "observe")
    expected = "error: --anonymous: expected one of --access, --jwt-keys, --tls-client-ca beside it, got none of them"
    assert started.stderr.startswith(expected)
    assert started.returncode == 2


def test_a_role_for_those_without_a_certificate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"TLS_CERT": "cert.pem", "TLS_KEY": "key.pem", "TLS_CLIENT_CA": "ca.pem", "ANONYMOUS": "observe"}
    for name, value in files.items():
        monkeypatch.setenv(f"POLSERVE_{name}", value)
    assert load_settings({}).anonymous == "observe"


def test_a_path_may_begin_at_home(tmp_path: Path) -> None:
    started = polserve("serve", POLSERVE_TLS_CERT="~/service.pem", POLSERVE_TLS_KEY="~/key.pem", HOME=str(tmp_path))
    assert f"got {tmp_path}/service.pem" in started.stderr
