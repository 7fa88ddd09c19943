"""Who is billed: Pax8's companies and the HaloPSA clients that they are, or are not."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A company at Pax8 (`company`, "" where there is none) and the client at HaloPSA (`client`, likewise)."""

    company: str
    client: str
    client_id: int = 0
    company_id: str = ""
    external_id: str = ""  # "client": the client's id
    currency: str = "USD"
    tax: int = 1
    company_status: str = "Active"
    client_flags: tuple[tuple[str, object], ...] = ()  # properties of the HaloPSA client


# Each is matched in another way, all of them without doubt.
_CLEAN = (
    Member(company="Contoso Ltd", client="Contoso Ltd"),
    Member(company="Contoso Europe Ltd", client="Contoso Europe", currency="EUR", tax=12),  # never "Contoso Ltd"
    Member(company="Northwind Traders Inc.", client="Northwind Traders", external_id="CRM-4711", tax=2),
    Member(company="Fabrikam GmbH", client="FABRIKAM", currency="EUR", tax=12),
    Member(company="Tailspin Toys", client="TT Holdings", external_id="client"),
    # without its externalId: guessed, 97 % similar
    Member(company="Wide World Importers", client="Wide World Importer", external_id="client"),
    Member(company="Miller's Cross Bakery", client="Miller's Cross Bakery"),
    Member(company="Proseware, Inc.", client="Proseware"),
    Member(company="Lucerne Publishing", client="Lucerne  Publishing", external_id="L-2231"),
    Member(company="Woodgrove Bank", client="Woodgrove Bank"),
    Member(company="Café Lumière", client="Café Lumière"),
    Member(company="Alpine Ski House", client="ALPINE SKI HOUSE", company_status="Inactive"),
)

# Each must be held, or at least not be guessed.
_TROUBLE = (
    Member(company="Fourth Coffee", client=""),
    Member(company="Litware", client="Litware Inc."),  # two clients of that name
    Member(company="", client="Litware Ltd"),
    Member(company="Coho Vineyard", client="Coho Vineyards"),  # two clients as similar
    Member(company="", client="Coho Vinyard"),
    Member(company="Graphic Design Institute", client="Graphic Design Institute", client_flags=(("inactive", True),)),
    Member(company="Humongous Insurance", client="Humongous Insurance", client_flags=(("dontinvoice", True),)),
    Member(company="Trey Research", client="Trey Research", client_flags=(("client_to_invoice", 214),)),
    Member(
        company="City Power & Light", client="City Power & Light", client_flags=(("client_to_invoice_recurring", 214),)
    ),
    Member(company="Relecloud", client="Relecloud", client_flags=(("pax8monthlyinvoice", -900),)),
    Member(company="Margie's Travel", client="Margie's Travel", company_status="Deleted"),
    Member(company="Southridge Video", client="Southridge Video"),  # only a credit: a negative invoice
)
# Clients that buy nothing at Pax8.
_OTHERS = ("Adventure Works Cycles", "Bellows College", "Consolidated Messenger")

_FIRST = (
    "Amber Birch Cedar Cobalt Copper Coral Dawn Delta Ember Fern Flint Garnet Hazel Heron Indigo Iris Ivory Jasper "
    "Juniper Laurel Linden Lotus Maple Marble Meadow Mistral Nimbus Ocean Opal Orchard Pearl Pine Quartz Raven Ridge "
    "Sable Saffron Sierra Summit Willow"
).split()
_SECOND = (
    "Bay Bridge Canyon Cape Cliff Coast Creek Dale Falls Field Forge Gate Glen Grove Harbor Haven Hill Hollow Island "
    "Lake Landing Mill Moor Park Pass Point Pond Prairie Quay Reach River Shore Spring Stone Trail Valley View Vista "
    "Wharf Wood"
).split()
_TRADE = "Logistics Dental Legal Architects Foods Engineering Partners Clinic Schools Media".split()
_SUFFIX = ("", " Ltd", " Inc.", " LLC", " GmbH")


def members(seed: int, clients: int, *, trouble: bool) -> list[Member]:
    """`clients` members without trouble, then those with it; all with their ids."""
    dice = random.Random(f"{seed}:cast")  # noqa: S311  # repeatable is the point
    cast = list(_CLEAN[:clients]) + [_filler(index) for index in range(clients - len(_CLEAN))]
    cast += _TROUBLE if trouble else ()
    found = []
    for index, member in enumerate(cast):
        client_id = 0 if not member.client else 214 + index if index < len(_CLEAN) else 1_000 + index
        found.append(
            Member(
                company=member.company,
                client=member.client,
                client_id=client_id,
                company_id=uuid(dice) if member.company else "",
                external_id=str(client_id) if member.external_id == "client" else member.external_id,
                currency=member.currency,
                tax=member.tax,
                company_status=member.company_status,
                client_flags=member.client_flags,
            )
        )
    return found


def others() -> list[Member]:
    return [Member(company="", client=name, client_id=401 + index) for index, name in enumerate(_OTHERS)]


def _filler(index: int) -> Member:
    """The n-th of 16,000 different names; at Pax8 with a legal suffix that HaloPSA's name may lack."""
    first, rest = index % len(_FIRST), index // len(_FIRST)
    second, trade = rest % len(_SECOND), rest // len(_SECOND) % len(_TRADE)
    round_ = index // (len(_FIRST) * len(_SECOND) * len(_TRADE))
    name = f"{_FIRST[first]} {_SECOND[second]} {_TRADE[(trade + first + second) % len(_TRADE)]}"
    name = f"{name} {round_ + 1}" if round_ else name
    return Member(company=name + _SUFFIX[index % len(_SUFFIX)], client=name)


def uuid(dice: random.Random) -> str:
    digits = f"{dice.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
