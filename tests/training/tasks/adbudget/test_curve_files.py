"""Files of curves as spreadsheets write them: read as those of a history are, or refused with what is wrong."""

from pathlib import Path

import pytest

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.curves.elsewhere import read_curves
from polserve.training.tasks.adbudget.history.sheets import MOST_BYTES

PLAIN_CSV = """channel,saturation,half_saturation,slope,sales_max,retention,spend_unit,return_unit,period
tv,hill,90000,2.2,140000.5,0.5,EUR,EUR,week
"""


@pytest.mark.parametrize(
    "content",
    [
        PLAIN_CSV.replace(",", ";").replace(".", ",").replace("140000", "140.000").encode(),
        b"sep=;\n" + PLAIN_CSV.replace(",", ";").encode(),
        PLAIN_CSV.replace("\n", ",,\n").encode(),
        PLAIN_CSV.encode("utf-16"),
        PLAIN_CSV.replace("channel", "Channel").replace("half_s", "Half S").encode(),
        PLAIN_CSV.replace("hill", "Hill").replace("EUR", "eur").replace("week", "Week").encode(),
        PLAIN_CSV.replace("period", "period,channels").replace("week", "week,tv").encode(),
        PLAIN_CSV.replace("2.2", "2.200").encode(),
    ],
)
def test_a_csv_file_is_read_as_that_of_a_history_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "curves.csv"
    path.write_bytes(content)
    curves = read_curves(path)
    assert (curves.currency, curves.return_unit) == ("EUR", "EUR")
    (tv,) = curves.channels
    assert [tv.half_saturation, tv.slope, tv.sales_max] == pytest.approx([90_000 / 7, 2.2, 140_000.5 / 7])


def test_a_list_of_channels_in_a_csv_file_is_held_against_its_curves(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(PLAIN_CSV.replace("period", "period,channels").replace("week", "week,tv;radio"))
    with pytest.raises(InvalidOption, match=r"channels: expected the curves' tv, got \['tv', 'radio'\]"):
        read_curves(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a header with channel, saturation, and the other fields of a curve, got nothing"),
        ("channel,saturation\n", "at least one curve, got none"),
        ("channel,channel\ntv,tv\n", "line 1: expected each column once, got channel twice"),
        ("channel,saturation\ntv\n", "line 2: expected 2 cells, got 1"),
        ("{", "expected JSON"),
        ("[]", "an object with a list 'curves', got list"),
        ('{"curves": 3}', "curves: expected a list of objects"),
        ('{"curves": [3]}', "curve 1: expected an object, got int"),
        ('{"curves": []}', "at least one curve, got none"),
    ],
)
def test_a_file_without_curves_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "curves"
    path.write_text(text)
    with pytest.raises(InvalidOption) as refusal:
        read_curves(path)
    assert message in str(refusal.value)
    with pytest.raises(InvalidOption, match="a JSON or CSV file of curves"):
        read_curves(tmp_path)


@pytest.mark.parametrize(("start", "kind"), [(b"{", "JSON"), (b"channel,saturation\n", "CSV")])
def test_a_file_that_is_too_large_is_refused_by_one_limit(tmp_path: Path, start: bytes, kind: str) -> None:
    path = tmp_path / "curves"
    path.write_bytes(start)
    with path.open("r+b") as file:
        file.truncate(MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(InvalidOption, match=f"a {kind} file of at most 32 MiB, got more"):
        read_curves(path)
