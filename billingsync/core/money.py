"""Amounts: `Decimal` plus an ISO 4217 currency, rounded in one function [L3]. No float touches money."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

# What one amount may be at the most. HaloPSA stores amounts as floats (reference/halopsa 2.7): below this every
# cent survives the way there and back; above it the "amount" is a mistake that a person must see.
MAX_AMOUNT = Decimal("1e12")

# Wide enough for the product of two numbers as `read_number` lets them in (40 digits each).
_WIDE = Context(prec=90, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])

ZERO = Decimal(0)

# ISO 4217, digits after the decimal point where they are not 2.
_OTHER_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_TWO_DIGITS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_DIGITS = dict.fromkeys(_TWO_DIGITS.split(), 2) | {
    code: digits for digits, codes in _OTHER_DIGITS.items() for code in codes.split()
}
_UNITS = {code: Decimal(1).scaleb(-digits) for code, digits in _DIGITS.items()}  # the smallest amount there is
_CENT = Decimal("0.01")
NO_CURRENCY = "XXX"  # ISO 4217's own code for "no currency": where neither a charge nor its invoice names one


def minor_unit(currency: str) -> int | None:
    """Digits after the point of an ISO 4217 currency; None for a code that is not in the table."""
    return _DIGITS.get(currency)


def round_money(amount: Decimal, currency: str) -> Decimal:
    """The amount in the currency's minor unit, halves away from zero [L3]; unknown currencies as if they had two."""
    unit = _UNITS.get(currency, _CENT)
    # What has just these decimals already is kept as it is: a month holds the same amounts many times.
    rounded = amount if amount.same_quantum(unit) else amount.quantize(unit, context=_WIDE)
    return rounded if rounded else abs(rounded)  # -0.00 is 0.00


def is_half(amount: Decimal, currency: str) -> bool:
    """Whether an exact amount lies just between two amounts of the currency."""
    distance = _WIDE.abs(_WIDE.subtract(amount, round_money(amount, currency)))
    return _WIDE.add(distance, distance) == _UNITS.get(currency, _CENT)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """The exact product of two read numbers."""
    return _WIDE.multiply(left, right)


def divide(amount: Decimal, quantity: Decimal, decimals: int) -> Decimal:
    """amount / quantity to `decimals` decimals, halves away from zero."""
    return _WIDE.divide(amount, quantity).quantize(Decimal(1).scaleb(-decimals), context=_WIDE)


def read_number(value: object) -> Decimal | None:
    """A JSON number as an exact Decimal: None where it is absent, ValueError where it is not a usable number.

    Strings are not numbers, NaN and infinities neither, and what has more than 40 digits or lies beyond
    `MAX_AMOUNT` in size is refused rather than rounded silently.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError(f"not a number: {value!r:.60}")  # noqa: TRY004 -- data, not a programming error
    number = Decimal(value) if isinstance(value, int) else value
    if not number.is_finite():
        raise ValueError(f"not a finite number: {value}")
    # The exponent first: arithmetic on 1E+1000000 is itself an error.
    long = len(str(number)) > 40 and len(number.as_tuple().digits) > 40  # what is short needs no counting
    odd = not -40 <= number.adjusted() <= 20 or long
    if odd or abs(number) >= MAX_AMOUNT:
        raise ValueError(f"too large or too long a number: {value!s:.60}")
    return number if number else ZERO  # -0 is 0


def plain(number: Decimal, currency: str | None = None) -> str:
    """Plain decimal notation, no exponent, no needless zeros; with a currency at least its minor unit's digits."""
    digits = 0 if currency is None else _DIGITS.get(currency, 2)
    whole, _, fraction = format(number, "f").partition(".")
    if len(fraction) != digits:
        fraction = fraction.rstrip("0").ljust(digits, "0")
    if whole == "-0" and not number:
        whole = "0"
    return f"{whole}.{fraction}" if fraction else whole
