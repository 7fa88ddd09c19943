"""What the seeded month sells. Microsoft's names are needed to look like Azure; the other vendors are invented."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    sku: str
    name: str
    vendor: str
    price: Decimal
    cost: Decimal
    unit: str = "User"
    item: str = "reference"  # how HaloPSA's catalogue knows it: reference | part code | name | twice | not at all
    id: str = ""


def _product(
    sku: str, name: str, vendor: str, price: str, cost: str, unit: str = "User", item: str = "reference"
) -> Product:
    return Product(sku=sku, name=name, vendor=vendor, price=Decimal(price), cost=Decimal(cost), unit=unit, item=item)


COMMON = (
    _product("MST-NCE-M365BP-C1", "Microsoft 365 Business Premium", "Microsoft", "22.00", "18.04"),
    _product("MST-NCE-M365BS-C1", "Microsoft 365 Business Standard", "Microsoft", "12.50", "10.25"),
    _product("MST-NCE-M365BB-C1", "Microsoft 365 Business Basic", "Microsoft", "6.00", "4.92"),
    _product("MST-NCE-M365E3-C1", "Microsoft 365 E3", "Microsoft", "36.00", "29.52"),
    _product("MST-NCE-DEFBUS-C1", "Microsoft Defender for Business", "Microsoft", "3.00", "2.46"),
    _product("MST-NCE-EXOP1-C1", "Exchange Online (Plan 1)", "Microsoft", "4.00", "3.28", item="name"),
    _product("MST-NCE-VISIO2-C1", "Visio Plan 2", "Microsoft", "15.00", "12.30"),
    _product("HBL-BKP-SRV-C1", "Harborline Backup for Servers", "Harborline", "48.00", "31.20", "Server"),
    _product("HBL-BKP-WKS-C1", "Harborline Backup for Workstations", "Harborline", "5.75", "3.9125", "Device"),
    _product("LNT-MAIL-ADV", "Lantern Mail Shield Advanced", "Lantern", "3.2500", "2.1125", item="part code"),
    _product("LNT-AWARE-STD", "Lantern Awareness Training", "Lantern", "2.4999", "1.8312"),
    _product("KPT-VAULT-MSP", "Keypost Password Vault", "Keypost", "3.95", "2.37"),
    _product("BSN-EDR-PRO", "Basin Endpoint Detection Pro", "Basin", "4.85", "3.1525", "Endpoint"),
    _product("FLK-DNS-FILT", "Flockstone DNS Filter", "Flockstone", "1.2345", "0.8025", "Device", item="part code"),
    _product("CRN-SIGN-STD", "Cornice eSign Standard", "Cornice", "14.00", "9.80"),
    _product("TRL-VOICE-10", "Trellis Voice Seat", "Trellis", "17.50", "12.95", "Seat", item="name"),
    _product("MST-NCE-PBIPRO-C1", "Power BI Pro", "Microsoft", "14.00", "11.48"),
)
FREE = _product("MST-NCE-FLOWF-C1", "Microsoft Power Automate Free", "Microsoft", "0", "0", item="not at all")
STORAGE = _product("HBL-CLD-STOR", "Harborline Cloud Storage", "Harborline", "0.0375", "0.0210", "GB")
SETUP = _product("CRN-SETUP-1", "Cornice eSign Onboarding", "Cornice", "250.00", "180.00", "Each", item="not at all")
AZURE = _product("MST-AZR-PLN-C100", "Microsoft Azure Plan", "Microsoft", "103.4412", "86.2010", "Each")
RESERVED = _product(
    "AZR-ARR-VM-RI1", "Azure Reserved VM Instance D2s v5", "Microsoft", "61.32", "54.10", "Each", item="not at all"
)
TWICE = _product("ORB-RMM-ADV", "Orbital Remote Management Advanced", "Orbital", "2.10", "1.45", "Device", item="twice")
UNKNOWN = _product("VRD-SIEM-100", "Verdant SIEM Connector", "Verdant", "89.00", "66.75", "Each", item="not at all")

ALL = (*COMMON, FREE, STORAGE, SETUP, AZURE, RESERVED, TWICE, UNKNOWN)
