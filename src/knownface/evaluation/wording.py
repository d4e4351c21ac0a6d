"""How figures are written for people."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """Return a share as a percentage with two digits; a dash where there is none."""
    return "–" if share is None else f"{share:.2%}".replace("%", " %")


def exponent(rate: float) -> str:
    """Return a power of ten as keys and tables name it: 1e-3."""
    mantissa, power = f"{rate:.0e}".split("e")
    return f"{mantissa}e{int(power)}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: 1 pair, 3,000 pairs."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
