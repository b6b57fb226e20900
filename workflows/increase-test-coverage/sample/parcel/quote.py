"""The price of a parcel, in whole cents."""

from dataclasses import dataclass, field

WEIGHT_MAX_GRAMS = 31_500
SIDE_MAX_CM = 120
GIRTH_MAX_CM = 300
INSURED_MAX_CENTS = 500_000

# Cents for a parcel of up to so many grams.
BANDS = ((500, 399), (2_000, 549), (5_000, 799), (10_000, 1_149), (WEIGHT_MAX_GRAMS, 1_849))

# Percent on top of the base price.
ZONES = {"domestic": 0, "neighbour": 60, "continent": 110, "world": 240}

DISCOUNTS = {"WELCOME10": 10, "BULK25": 25}
BULK_PARCELS_MIN = 20

SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}


@dataclass(frozen=True)
class Parcel:
    """A box: grams, and centimetres."""

    grams: int
    length: int
    width: int
    height: int
    fragile: bool = False

    def sides(self) -> tuple[int, int, int]:
        """The sides, longest first."""
        longest, middle, shortest = sorted((self.length, self.width, self.height), reverse=True)
        return longest, middle, shortest

    def girth(self) -> int:
        """The longest side and once around the other two."""
        longest, middle, shortest = self.sides()
        return longest + 2 * (middle + shortest)

    def billed_grams(self) -> int:
        """A light but bulky parcel is billed by its volume: 5,000 cubic centimetres count as a kilogram."""
        volume = self.length * self.width * self.height
        return max(self.grams, -(-volume // 5))


@dataclass
class Quote:
    """A price and how it came about."""

    cents: int
    lines: list[tuple[str, int]] = field(default_factory=list)

    def add(self, reason: str, cents: int) -> None:
        """Adds a line; one of nothing is left out."""
        if cents == 0:
            return
        self.cents += cents
        self.lines.append((reason, cents))


def check(parcel: Parcel) -> None:
    """Raises ValueError for a parcel that is not carried."""
    if parcel.grams <= 0 or min(parcel.sides()) <= 0:
        raise ValueError("a parcel has a weight and three sides")
    if parcel.billed_grams() > WEIGHT_MAX_GRAMS:
        raise ValueError(f"too heavy: {parcel.billed_grams()} g is over {WEIGHT_MAX_GRAMS} g")
    if parcel.sides()[0] > SIDE_MAX_CM:
        raise ValueError(f"too long: {parcel.sides()[0]} cm is over {SIDE_MAX_CM} cm")
    if parcel.girth() > GIRTH_MAX_CM:
        raise ValueError(f"too bulky: a girth of {parcel.girth()} cm is over {GIRTH_MAX_CM} cm")


def base_cents(grams: int) -> int:
    """The price of the lightest band that holds the weight."""
    for limit, cents in BANDS:
        if grams <= limit:
            return cents
    raise ValueError(f"no band for {grams} g")


def insurance_cents(value_cents: int) -> int:
    """Free up to 50.00, then 1 % of the value, rounded up, and at least 2.50."""
    if value_cents < 0 or value_cents > INSURED_MAX_CENTS:
        raise ValueError(f"a value of {value_cents} cents cannot be insured")
    if value_cents <= 5_000:
        return 0
    return max(250, -(-value_cents // 100))


def discount_percent(code: str | None, parcels: int) -> int:
    """The better of a code's discount and the one for many parcels."""
    percent = 0
    if code is not None:
        name = code.strip().upper()
        if name not in DISCOUNTS:
            raise ValueError(f"unknown code {code!r}")
        if name.startswith("BULK") and parcels < BULK_PARCELS_MIN:
            raise ValueError(f"{name} is for {BULK_PARCELS_MIN} parcels and more")
        percent = DISCOUNTS[name]
    if parcels >= 100:
        percent = max(percent, 30)
    elif parcels >= BULK_PARCELS_MIN:
        percent = max(percent, 15)
    return percent


def quote(
    parcel: Parcel,
    zone: str = "domestic",
    *,
    value_cents: int = 0,
    express: bool = False,
    code: str | None = None,
    parcels: int = 1,
) -> Quote:
    """The price of one parcel out of `parcels` that are sent together."""
    if zone not in ZONES:
        raise ValueError(f"unknown zone {zone!r}: use one of {', '.join(ZONES)}")
    if parcels < 1:
        raise ValueError("at least one parcel is sent")
    check(parcel)

    base = base_cents(parcel.billed_grams())
    total = Quote(0)
    total.add("base", base)
    total.add(f"zone {zone}", base * ZONES[zone] // 100)
    if express:
        if zone == "world":
            raise ValueError("there is no express to the world zone")
        total.add("express", max(500, base // 2))
    if parcel.fragile:
        total.add("fragile", 300)

    # The discount is on the carriage; insurance is paid in full.
    total.add("discount", -(total.cents * discount_percent(code, parcels) // 100))
    total.add("insurance", insurance_cents(value_cents))
    return total


def shares(cents: int, parcels: int) -> list[int]:
    """An amount as equal parts that add up to it: the first parts carry what is left over."""
    if parcels < 1:
        raise ValueError("at least one parcel shares an amount")
    part, rest = divmod(abs(cents), parcels)
    parts = [part + 1] * rest + [part] * (parcels - rest)
    return parts if cents >= 0 else [-part for part in parts]


def money(cents: int, currency: str = "EUR") -> str:
    """An amount for people: `€4.05`, `-€0.50`, and `4.05 CHF` where the currency has no symbol here."""
    if len(currency) != 3 or not currency.isalpha():
        raise ValueError(f"not a currency: {currency!r}")
    sign = "-" if cents < 0 else ""
    whole, fraction = divmod(abs(cents), 100)
    amount = f"{whole:,}.{fraction:02}"
    symbol = SYMBOLS.get(currency.upper())
    if symbol is None:
        return f"{sign}{amount} {currency.upper()}"
    return f"{sign}{symbol}{amount}"


def receipt(total: Quote, currency: str = "EUR") -> str:
    """The quote's lines and its sum, amounts flush right."""
    rows = [(reason, money(cents, currency)) for reason, cents in total.lines]
    rows.append(("total", money(total.cents, currency)))
    left = max(len(reason) for reason, _ in rows)
    right = max(len(amount) for _, amount in rows)
    return "\n".join(f"{reason:<{left}}  {amount:>{right}}" for reason, amount in rows)
