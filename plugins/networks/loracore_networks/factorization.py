"""Whole numbers as products: how layers are cut into blocks, as LyCORIS and readers of its files do."""

from __future__ import annotations

import math


def divisors(number: int) -> list[int]:
    """Return all divisors of a positive number, ascending."""
    small = [each for each in range(1, math.isqrt(number) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})


def two_factors(number: int, largest: int = -1) -> tuple[int, int]:
    """Return a · b = number with a ≤ b: the two nearest to each other with a ≤ ``largest`` (-1: no limit).

    A ``largest`` that divides the number is one of the two, even the larger one.
    """
    if largest > 0 and number % largest == 0:
        return min(largest, number // largest), max(largest, number // largest)
    limit = math.isqrt(number) if largest < 1 else min(largest, math.isqrt(number))
    small = max(each for each in divisors(number) if each <= max(limit, 1))
    return small, number // small


def butterfly_sizes(number: int) -> list[int]:
    """Return the even block sizes whose number in a layer of so many rows is a power of two, ascending."""
    return [each for each in divisors(number) if each % 2 == 0 and (number // each).bit_count() == 1]
