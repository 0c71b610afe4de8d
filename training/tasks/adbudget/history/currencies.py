"""Currencies by their ISO 4217 codes."""

_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA
MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CODES = frozenset(_CODES.split())
"""Codes of the money that is in use."""
_OF_SMALL_UNITS = """
CLP COP CRC DJF GNF HUF IDR IQD IRR ISK JPY KHR KMF KRW KZT LAK LBP MGA MMK MNT NGN PYG RWF SOS SYP TZS UGX UZS
VND VUV XAF XOF XPF
"""
OF_SMALL_UNITS = frozenset(_OF_SMALL_UNITS.split())
"""Codes of currencies of which a day's spend is often millions, and a whole number."""
SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "₪": "ILS", "₫": "VND", "₩": "KRW", "zł": "PLN"}
"""Signs that stand for one currency; $, ¥ and kr stand for several."""


def code_of(text: str) -> str:
    """Code that a code in any case or a sign stands for, or "" where it is none."""
    text = text.strip()
    return SIGNS.get(text.casefold(), text.upper() if text.upper() in CODES else "")
