"""How numbers are written in tables."""


def significant(x: float, digits: int = 3) -> str:
    """So many significant digits, and no exponent for large numbers."""
    return f"{x:.{digits}g}" if x < 10**digits - 0.5 else f"{x:.0f}"


def brief(x: float, decimals: int = 0) -> str:
    """Scientific notation without padding of the exponent: 3e-7."""
    mantissa, exponent = f"{x:.{decimals}e}".split("e")
    return f"{mantissa}e{int(exponent)}" if int(exponent) else mantissa
