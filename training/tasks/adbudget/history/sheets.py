"""A table in a text file, as spreadsheets and advertising platforms export it: encoding, separator, rows."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from polserve.training.errors import InvalidOption, require

Cell: TypeAlias = tuple[str, str]
"""Where it stands, as errors name it, and what it holds."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""What bytes of another encoding have become."""
IsHeader: TypeAlias = Callable[[Sequence[str]], bool]
MOST_BYTES = 32 * 1024 * 1024
"""A thousand times what ten years of ten channels take."""
PREAMBLE = 20
"""Lines above the header that are searched for it, so that the error can say where it is."""
SEPARATORS: tuple[str, ...] = (",", ";", "\t", "|")
OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a file compressed by gzip",
    b"BZh": "a file compressed by bzip2",
    b"\xfd7zXZ": "a file compressed by xz",
    b"(\xb5/\xfd": "a file compressed by zstd",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
    b"<": "a page of HTML or XML",
    b"{": "a JSON document",
    b"[": "a JSON document",
}
"""What is given in place of a CSV file, by its first bytes."""
ENCODINGS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe\x00\x00": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""By byte order mark."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A header and the rows below it, all of its length; cells are as they stand in the file, without outer spaces."""

    path: Path
    header_line: int
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """Number of the file's line, and the cells."""

    def column(self, index: int) -> list[Cell]:
        """Cells below a name of the header."""
        name = self.header[index]
        return [(f"{self.path}, line {line}: {name}", cells[index]) for line, cells in self.rows]


def read_sheet(path: Path, is_header: IsHeader, wanted: str) -> Sheet:
    """Read the table in a file whose header `is_header` knows under one of the usual separators; `wanted` describes it.

    Raises:
        InvalidOption: the file is no such table; the error names the line.
    """
    text, separators, skipped = _text(path), SEPARATORS, 0
    if told := re.match(r"sep=(.)(?:\r\n|\r|\n)", text, re.IGNORECASE):  # which Excel writes and reads
        separators, skipped, text = (told[1],), 1, text[told.end() :]
    for separator in separators:
        records = _records(path, text, separator, skipped)
        try:
            line, header = next(records, (1, ()))
        except InvalidOption:
            continue  # a quote that only another separator lets end
        if is_header(header):
            return Sheet(path, line, header, tuple((at, _filled(path, at, cells, header)) for at, cells in records))
    line, header = next(_records(path, text, _likely(text, separators), skipped), (1, ()))
    got = ", ".join(header) or "nothing"
    below = _header_below(path, text, separators, is_header)
    hint = f"; line {below + skipped} has it: delete what stands above" if below else ""
    raise InvalidOption(f"{path}, line {line}: expected {wanted}, got {_short(got)}{hint}")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InvalidOption(f"{path}: expected a CSV file ({error.strerror or error})") from error
    most = f"a CSV file of at most {MOST_BYTES >> 20} MiB"
    require(len(data) <= MOST_BYTES, str(path), most, "more")
    return data


def _text(path: Path) -> str:
    """File's text; what is no UTF-8 becomes replacement characters, which only ignored columns may have."""
    data = _bytes(path)
    for start, what in OTHER_FILES.items():
        if data.startswith(start):
            raise InvalidOption(f"{path}: expected a CSV file, got {what}; save it as CSV (UTF-8)")
    encoding = next((name for mark, name in ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding, "replace" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise InvalidOption(f"{path}: expected a CSV file, got damaged {encoding} ({error}); save it again") from error
    is_text = "\x00" not in text
    require(is_text, str(path), "a CSV file", "bytes that are no text, or UTF-16 without its mark; save it as UTF-8")
    return text.lstrip("\ufeff").replace("\u200b", "")


def _records(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and cells of each record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = tuple(cell.strip() for cell in next(reader))
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if "unexpected end" in reason:
                reason = "a quote that is not closed"
            elif "field limit" in reason:
                reason = f"more than {csv.field_size_limit():,} characters in one; perhaps a quote is not closed"
            raise InvalidOption(f"{path}, line {line}: expected cells of CSV, got {reason}") from error
        if any(cells):
            yield line, cells


def _filled(path: Path, line: int, cells: tuple[str, ...], header: tuple[str, ...]) -> tuple[str, ...]:
    """Make the cells as many as the header's: what is missing or too much may only be empty ends of the line."""
    where, n = f"{path}, line {line}", len(header)
    if len(cells) > n:
        hint = "; a number with a comma must be quoted, or written with a point" if any(cells[n:]) else ""
        require(not any(cells[n:]), where, f"{n} cells", f"{len(cells)}{hint}")
    require(not any(header[len(cells) :]), where, f"{n} cells", len(cells))
    full = (*cells, *([""] * (n - len(cells))))[:n]
    for index, (name, cell) in enumerate(zip(header, full, strict=True), start=1):
        if not name and cell:
            raise InvalidOption(f"{where}: expected nothing in column {index}, which has no name, got {_short(cell)}")
    return full


def _likely(text: str, separators: Sequence[str]) -> str:
    """Separator that the first line has most of."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(separators, key=first.count)


def _header_below(path: Path, text: str, separators: Sequence[str], is_header: IsHeader) -> int:
    """Line of a header among the first ones, or 0."""
    for number, line in enumerate(text.splitlines()[:PREAMBLE], start=1):
        for separator in separators:
            try:
                if is_header(next(_records(path, line, separator, 0), (1, ()))[1]):
                    return number
            except InvalidOption:
                continue
    return 0


def _short(text: str) -> str:
    most = 200
    return text if len(text) <= most else f"{text[:most]}..."
