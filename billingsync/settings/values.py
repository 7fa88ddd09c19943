"""What the values of settings may look like. Each function takes the text that somebody wrote and gives the value, or
raises ValueError with a sentence that says what to write instead and never repeats what may hold a secret."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from datetime import date
from urllib.parse import unquote, urlsplit

from billingsync.core.money import minor_unit

EVENTS = (
    "released",
    "held",
    "posted",
    "failed",
    "overdue",
    "recovered",
    "differences",
    "expiring",
    "card_failed",
)
SHORTEST_AUTHORIZATION = 16  # characters of a value that cannot be guessed
# Headers that the HTTP layer writes itself: another value would break the login or the request.
_OWN_HEADERS = ("authorization", "host", "content-length", "content-type", "transfer-encoding")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known spelling closest to `name`, None where nothing is close."""
    from rapidfuzz import fuzz, process, utils  # only needed once something is misspelt

    near = process.extractOne(name, list(known), scorer=fuzz.ratio, processor=utils.default_process)
    return near[0] if near and near[1] >= 60 else None


def partner_name(text: str) -> str:
    """A partner's short name, as it stands in commands and file names."""
    name = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise ValueError("is up to 63 letters, digits, dots, dashes and underscores, and begins with a letter or digit")
    return name


def printable(text: str) -> str:
    """The text with everything invisible written as an escape."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def short(text: str) -> str:
    """A value as a message shows it."""
    return printable(text if len(text) <= 80 else text[:79] + "…")


def choice(value: object, options: tuple[str, ...]) -> object:
    """One of a few words, in any case."""
    if not isinstance(value, str) or value.strip().lower() in options:
        return value.strip().lower() if isinstance(value, str) else value
    guess = nearest(value, options)
    hint = f"; did you mean {guess}?" if guess else ""
    raise ValueError(f'"{short(value)}" is not one of {", ".join(options)}{hint}')


def base_url(value: str) -> str:
    """Where an API lives: no query, no trailing slash."""
    url = service_url(value)
    if "?" in url:
        raise ValueError("must not have a query (? and what follows)")
    return url.rstrip("/")


def halo_url(value: str) -> str:
    """The tenant's address, to which `/api` and `/auth` are added."""
    url = base_url(value)
    for tail in ("/api", "/auth", "/auth/token"):
        if url.lower().endswith(tail):
            raise ValueError(f"must be the tenant's address without {tail}, e.g. https://acme.halopsa.com")
    return url


def service_url(value: str) -> str:
    """An address that gets a secret or a token: https, or plain http to this machine only."""
    url = _web_url(value)
    if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError(
            "must begin with https://, because the token would travel in clear; http:// is for loopback only"
        )
    return url.rstrip("/")


def ping_url(value: str) -> str:
    """A dead man's switch; often on the own network, so plain http will do."""
    return _web_url(value).rstrip("/")


def _web_url(value: str) -> str:
    text = value.strip()
    if "://" not in text:
        raise ValueError("must be a whole address that begins with https://")
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("cannot be read as an address such as https://acme.halopsa.com") from None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise ValueError("must begin with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a name or password; they have variables of their own")
    host = parts.hostname or ""
    # What looks like another letter may be another host.
    if not host.isascii():
        raise ValueError("must name its host in plain letters (xn--... for others)")
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?|[0-9a-f:.]+", host) or not port_is_right:
        raise ValueError("has no usable host name or port")
    if parts.fragment or re.search(r"[\s\\<>\"]", text):
        raise ValueError("holds characters that an address cannot have")
    return scheme + text[len(parts.scheme) :]


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def database_url(value: str) -> str:
    """A SQLAlchemy URL of SQLite or PostgreSQL, the latter with its driver."""
    scheme, found, rest = value.strip().partition("://")
    backend, _, driver = scheme.lower().partition("+")
    if not found or backend not in ("sqlite", "postgresql", "postgres"):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if backend == "sqlite":
        return _sqlite_url(driver, rest)
    if driver not in ("", "psycopg"):
        raise ValueError("must name the driver psycopg: postgresql+psycopg://")
    url = f"postgresql+psycopg://{rest}"
    from sqlalchemy.engine import make_url  # takes a quarter of a second, so only where it is needed

    try:
        database = make_url(url).database
    except Exception:  # noqa: BLE001  it raises many kinds, and their texts hold the password
        raise ValueError("cannot be read as an address; write @ : / % in a password as %40 %3A %2F %25") from None
    if not database:
        raise ValueError("names no database: postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
    return url


def _sqlite_url(driver: str, rest: str) -> str:
    if driver not in ("", "pysqlite"):
        raise ValueError("must begin with sqlite:///, without another driver")
    path, _, query = rest.removeprefix("/").partition("?")
    if path in ("", ":memory:") or "mode=memory" in query:
        raise ValueError("must name a file: a ledger in memory forgets what was posted, e.g. sqlite:///billingsync.db")
    if not rest.startswith("/"):
        raise ValueError("needs three slashes before the path (four for one from the root): sqlite:///billingsync.db")
    if path.startswith("file:"):
        raise ValueError("must name the file by its path: sqlite:///billingsync.db")
    return f"sqlite://{rest}"


def time_zone(value: str) -> str:
    """A name of the time zone database."""
    from zoneinfo import ZoneInfo, available_timezones

    name = value.strip()
    try:
        ZoneInfo(name)  # listing all of them takes long, and is needed for the hint only
        return name
    except (KeyError, ValueError, OSError):
        known = available_timezones()
    same = next((zone for zone in known if zone.casefold() == name.casefold()), None)
    cities = {zone.rpartition("/")[2]: zone for zone in sorted(known, reverse=True)}
    guess = same or cities.get(name.title()) or nearest(name, sorted(known))
    hint = f"did you mean {guess}?" if guess else "write one such as Europe/Berlin"
    raise ValueError(f'"{short(name)}" is not a time zone; {hint}')


def locale(value: str) -> str:
    """A locale that babel knows; `de-DE` and `de_DE.UTF-8` are taken as `de_DE`."""
    from babel import Locale, UnknownLocaleError
    from babel.localedata import locale_identifiers

    name = value.strip().partition(".")[0].replace("-", "_")
    try:
        return str(Locale.parse(name))
    except (ValueError, UnknownLocaleError):
        guess = nearest(name, locale_identifiers())
        hint = f"did you mean {guess}?" if guess else "write one such as en_US"
        raise ValueError(f'"{short(value)}" is no locale; {hint}') from None


def marker(value: str) -> str:
    """Where a line carries its key."""
    text = value.strip().lower()
    if text in ("longdescription", "productnumber") or re.fullmatch(r"customfield:[1-9][0-9]{0,9}", text, re.ASCII):
        return text
    raise ValueError(f'"{short(value)}" is not one of longdescription, productnumber, customfield:<id>')


def headers(value: object) -> object:
    """A JSON object of texts."""
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('is not JSON; write an object such as {"halo-app-name": "halo-web-application"}') from None
    if not isinstance(read, dict) or not all(isinstance(text, str) for text in read.values()):
        raise ValueError('must be a JSON object of texts such as {"halo-app-name": "halo-web-application"}')
    for name, text in read.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not (text.isascii() and text.isprintable()):
            raise ValueError("has a header whose name or value HTTP does not allow")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"must not set {name}, which billingsync sets itself")
    return read


def day(value: object) -> object:
    """A day as 2027-03-31."""
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f'"{short(value)}" is not a date; write one such as 2027-03-31') from None


def authorization(value: str) -> str:
    """What a caller of the webhook must know. A header cannot carry more than ASCII, nor blanks at its ends."""
    text = value.strip()
    if text and len(text) < SHORTEST_AUTHORIZATION:
        raise ValueError(f"can be guessed: it must have at least {SHORTEST_AUTHORIZATION} characters")
    if not (text.isascii() and text.isprintable()):
        raise ValueError("holds characters that a header cannot carry; use letters, digits and punctuation")
    return text


_OWN_FIELDS = ("id", "summary", "details", "details_html")


def ticket(value: object) -> object:
    """A JSON object: the fields that every ticket gets, `{}` where HaloPSA's own defaults will do."""
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        read = None
    fields = read if isinstance(read, dict) else {"": None}
    for name, field in fields.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError('must be a JSON object of ticket fields such as {"tickettype_id": 21, "client_id": 12}')
        if name in _OWN_FIELDS:
            raise ValueError(f"must not set {name}, which billingsync writes itself")
        if isinstance(field, float):
            raise ValueError(f"has a fraction in {name}, which no such field of a ticket has")  # noqa: TRY004
    return fields


def clock_time(value: str) -> str:
    """A time of day as 05:00."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value.strip(), re.ASCII):
        raise ValueError("is not a time of day such as 05:00")
    return value.strip()


def events(value: object) -> object:
    """A list with commas, or JSON; `all` stands for every event."""
    if not isinstance(value, str):
        return value
    names = _list(value, r"[,\s]+")
    chosen = []
    for name in names:
        if name.lower() == "all":
            return EVENTS
        chosen.append(choice(name, EVENTS))
    return tuple(dict.fromkeys(chosen))


def notify_urls(value: object) -> object:
    """Apprise URLs with blanks, line ends or commas between them, or JSON. A comma inside a URL belongs to it."""
    if not isinstance(value, str):
        return value
    urls = _list(value, r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)|\s+")
    for number, url in enumerate(urls, start=1):
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", url):
            raise ValueError(f"entry {number} is not an Apprise URL such as workflows://... or mailto://...")
    return tuple(urls)


# Characters. A shorter user or word of an address is an innocent word elsewhere, where `***` would hide what matters.
_TELLING_PASSWORD, _TELLING_USER, _TELLING_WORD = 4, 8, 12


def secret_parts(url: str) -> list[str]:
    """What of a notice's address may open a door by itself: the user part, the password, each long word behind the
    host; as written and percent-decoded. Libraries quote addresses in such pieces."""
    rest = url.partition("://")[2]
    user, at, _ = rest.partition("?")[0].rpartition("@")
    host = rest.removeprefix(user + at).partition("/")[0].partition("?")[0]
    name, _, password = user.partition(":")
    pieces = re.split(r"[/?&@:]", rest.replace(host, "", 1) if "." in host or is_loopback(host) else rest)
    words = [word for word in (*pieces, *(piece.partition("=")[2] for piece in pieces)) if len(word) >= _TELLING_WORD]
    words += [word for word in (user, name) if len(word) >= _TELLING_USER]
    words += [password] if len(password) >= _TELLING_PASSWORD else []
    return list(dict.fromkeys(form for word in words for form in (word, unquote(word))))


def _list(value: str, separator: str) -> list[str]:
    text = value.strip()
    if not text.startswith("["):
        return [part for part in re.split(separator, text) if part]
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('is not a JSON list; write ["one", "two"]') from None
    if not isinstance(read, list) or not all(isinstance(part, str) for part in read):
        raise ValueError('must be a list of texts: ["one", "two"]')
    return [part.strip() for part in read if part.strip()]


def public_url(value: str) -> str:
    """The desk's address: scheme and host alone, without a slash at its end; "" for none."""
    if not value.strip():
        return ""
    url = base_url(value)
    if urlsplit(url).path not in ("", "/"):
        raise ValueError("must be scheme and host alone, e.g. https://billing.acme.example")
    return url


def issuer(value: str) -> str:
    """An OpenID issuer, exactly as it names itself in its tokens; "" for none."""
    text = value.strip()
    if not text:
        return ""
    service_url(text)
    if urlsplit(text).path.strip("/").split("/")[0] in ("common", "organizations", "consumers"):
        raise ValueError("must name one tenant by its id: with this address anybody at all could sign in")
    return text


def roles(value: object) -> object:
    """A JSON object from a claim's value to a role of the desk."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value) if value.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(role in ("user", "financial", "admin") for role in found.values()):
        raise ValueError('must be a JSON object such as {"Billing.Admin": "admin"}; roles are user, financial, admin')
    return found


def addresses(value: object) -> object:
    """IP addresses, separated by commas."""
    if not isinstance(value, str):
        return value
    found = [text.strip() for text in _list(value, ",") if text.strip()]
    for text in found:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(f'"{short(text)}" is no IP address') from None
    return found


def currency(value: str) -> str:
    """An ISO 4217 code, or nothing."""
    code = value.strip().upper()
    if code and minor_unit(code) is None:
        raise ValueError(f"{value!r:.20} is not an ISO 4217 currency code, e.g. USD")
    return code
