"""Which columns of a sheet are an account's history: by their names, units and currencies among them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.history.controls import KINDS, Kind
from polserve.training.tasks.adbudget.history.currencies import CODES, code_of
from polserve.training.tasks.adbudget.history.sheets import REPLACEMENT, Sheet

WANTED = "a header with date, <channel>_spend for each channel, and sales, each once"
UNIT = r"(?:[\s_-]+(?P<suffix>[^()\[\]]+)|[\s_-]*[(\[](?P<unit>[^()\[\]]*)[)\]])?"
"""After a name: facebook_spend_eur, facebook_spend (EUR)."""
SPEND = re.compile(rf"(?P<name>.+?)[\s_-]+spend{UNIT}", re.IGNORECASE)
SALES = re.compile(rf"(?P<name>sales){UNIT}", re.IGNORECASE)
CONTROL = re.compile(rf"(?:.+?[\s_-]+)?(?P<kind>{'|'.join(KINDS)})s?(?:[\s_-]*[(\[][^()\[\]]*[)\]])?", re.IGNORECASE)
"""Names of events, promotions and prices: event, Easter_holiday, competitor_price (EUR)."""
CURRENCY = re.compile(
    r"(.*[\s_-])?(currency|curr|ccy|w(ä|ae)hrung|valuta|devise|moneda|moeda)([\s_-]+(iso[\s_-]+)?code)?", re.IGNORECASE
)
"""Names of the columns that tell a currency, in some languages."""
MICROS = re.compile(r"(.*[\s_-])?(cost|spend|sales|revenue)[\s_-]*[(\[]?micros[)\]]?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Columns:
    """Indices of a sheet's columns."""

    date: int
    sales: int
    spends: dict[str, int]
    """By channel."""
    currencies: tuple[int, ...]
    """Columns that tell a currency on each line."""
    told: dict[str, str]
    """Currencies told by the names of columns, by name."""
    controls: dict[int, Kind]
    """Columns of events, promotions and prices, by index."""
    ignored: tuple[str, ...]
    """Names of the columns that are left alone."""


def is_header(cells: Sequence[str]) -> bool:
    """Whether a line has the names of a history's columns, so that its separator is the right one."""
    return len(cells) > 1 and "date" in map(str.casefold, cells)


def find_columns(sheet: Sheet) -> Columns:
    """Find the columns that are used; others are left alone.

    Raises:
        InvalidOption: one is missing, is there twice, or has a unit that is no money.
    """
    where = f"{sheet.path}, line {sheet.header_line}"
    dates, sales = [], []
    spends: dict[str, int] = {}
    told: dict[str, str] = {}
    for index, name in enumerate(sheet.header):
        _check_micros(f"{where}: {name}", name)
        if name.casefold() == "date":
            dates.append(index)
        match = SPEND.fullmatch(name) or SALES.fullmatch(name)
        if match is None or not _is_used(where, match, sheet.header):
            continue
        require(REPLACEMENT not in name, f"{where}: {name}", "UTF-8", "another encoding; save the file as UTF-8")
        if unit := match["suffix"] or match["unit"]:
            told[name] = code_of(unit)
        if match.re is SALES:
            sales.append(index)
            continue
        for channel, other in spends.items():
            is_other = _key(channel) != _key(match["name"])
            require(is_other, where, WANTED, f"{sheet.header[other]} and {name}")
        spends[match["name"]] = index
    is_complete = len(dates) == 1 and len(sales) == 1 and bool(spends)
    require(is_complete, where, WANTED, ", ".join(filter(None, sheet.header)))
    used = {dates[0], sales[0], *spends.values()}
    others = [index for index in range(len(sheet.header)) if index not in used]
    currencies = tuple(index for index in others if _tells_currency(sheet, index))
    controls = {index: kind for index in others if (kind := _control_kind(sheet.header[index]))}
    ignored = tuple(name for index in others if index not in {*currencies, *controls} and (name := sheet.header[index]))
    return Columns(dates[0], sales[0], spends, currencies, told, controls, ignored)


def _control_kind(name: str) -> Kind | None:
    """Kind of control that a column is, by its name; None for a column that is none."""
    match = CONTROL.fullmatch(name)
    return KINDS[match["kind"].casefold()] if match else None


def currency_of(sheet: Sheet, columns: Columns) -> str:
    """Account's currency, by its ISO 4217 code, or "" where the sheet tells none.

    Raises:
        InvalidOption: there are two, or a cell tells none that is known.
    """
    found = {code: f"{name} tells {code}" for name, code in columns.told.items()}
    for index in columns.currencies:
        cells = sheet.column(index)
        if not any(text for _, text in cells):
            continue
        for where, text in cells:
            code = code_of(text)
            if code not in found:
                got = f"{text!r}" if text else "nothing; every line has one, or none has"
                require(bool(code), where, "an ISO 4217 code such as EUR", got)
                found[code] = f"{where} is {code}"
            require(
                len(found) == 1,
                f"{sheet.path}",
                "one currency in all lines, since amounts are added up; convert them, or split the account",
                " and ".join(found.values()),
            )
    require(len(found) <= 1, f"{sheet.path}: currency", "one currency in all columns", " and ".join(found.values()))
    return next(iter(found), "")


def _tells_currency(sheet: Sheet, index: int) -> bool:
    """Whether a column is a currency's, by its name, or whatever its name is by several codes and nothing else."""
    if CURRENCY.fullmatch(sheet.header[index]):
        return True
    texts = {text for _, text in sheet.column(index)}
    return len(texts) > 1 and texts <= CODES


def _check_micros(where: str, name: str) -> None:
    is_money = MICROS.fullmatch(name) is None
    require(is_money, where, "money in units of the currency", "micros by its name; divide by 1,000,000 and rename it")


def _is_used(where: str, match: re.Match[str], header: Sequence[str]) -> bool:
    """Whether a column of spends or sales is the history's; one that may be, and is none, must not be lost unseen."""
    unit = match["suffix"] or match["unit"]
    if unit is None or code_of(unit):
        return True
    if match.re is SALES or _key(f"{match['name']}_spend") in map(_key, header):
        return False
    raise InvalidOption(
        f"{where}: {match[0]}: expected <channel>_spend, with a currency after it or nothing, got {unit!r} after it; "
        "rename the column, or delete it"
    )


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name).casefold()
