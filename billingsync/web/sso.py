"""Signing in by the company's OpenID issuer: authorization code with PKCE, state and nonce [SE6].

What must come back unchanged lies in the ledger, under a secret in a cookie of its own, and is good once: an answer
that is replayed, or that another browser brings, finds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from billingsync.core.desk import LinkKind, Role
from billingsync.store.people import Person
from billingsync.web.ask import Ask, own_path

GOOD_FOR = timedelta(minutes=10)
CALLBACK = "/login/sso/callback"


@dataclass(frozen=True, slots=True)
class Found:
    """Who signed in, and where to go on."""

    person: Person
    to: str


class NotSignedIn(Exception):
    """`why` is for the log alone."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


async def start(ask: Ask) -> Response:
    """Sends the browser to the issuer."""
    memory: dict[str, Any] = {}
    ask.request.scope["session"] = memory
    answer: Response = await _client(ask).authorize_redirect(ask.request, f"{ask.desk.site.url}{CALLBACK}")
    body = {"memory": memory, "to": own_path(ask.query("next") or "/")}
    secret = await run_in_threadpool(
        lambda: ask.ledger.make_link(LinkKind.SSO, body=body, good_for=GOOD_FOR, now=ask.now)
    )
    site = ask.desk.site
    age = int(GOOD_FOR.total_seconds())
    answer.set_cookie(_cookie(ask), secret, max_age=age, path="/", secure=site.secure, httponly=True, samesite="lax")
    return answer


async def finish(ask: Ask) -> Found:
    """Takes the issuer's answer. Raises NotSignedIn, whatever was wrong with it."""
    from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
    from httpx2 import HTTPError
    from joserfc.errors import JoseError

    secret = ask.request.cookies.get(_cookie(ask), "")
    link = await run_in_threadpool(ask.ledger.use_link, secret, LinkKind.SSO, ask.now) if secret else None
    if link is None:
        raise NotSignedIn("no sign-in of this browser waits for an answer")
    ask.request.scope["session"] = dict(link.body["memory"])
    oidc = ask.desk.settings.desk.oidc
    claims_options = {
        "iss": {"essential": True, "value": oidc.issuer},
        "aud": {"essential": True, "value": oidc.client_id},
        "sub": {"essential": True},
    }
    try:
        token = await _client(ask).authorize_access_token(ask.request, claims_options=claims_options)
    except (AuthlibBaseError, JoseError, HTTPError, ValueError, KeyError, TypeError, RuntimeError) as failed:
        raise NotSignedIn(f"{type(failed).__name__}: {failed}"[:300]) from failed
    claims = token.get("userinfo")
    if not isinstance(claims, Mapping) or not token.get("id_token"):
        raise NotSignedIn("the issuer gave no ID token")
    person = await run_in_threadpool(_person, ask, claims)
    return Found(person, own_path(str(link.body["to"])))


def _person(ask: Ask, claims: Mapping[str, Any]) -> Person:
    oidc = ask.desk.settings.desk.oidc
    if oidc.domain and claims.get("hd") != oidc.domain:
        raise NotSignedIn("another domain")
    named = [claims.get("roles"), claims.get("groups")]
    values = [value for one in named for value in (one if isinstance(one, list) else [one]) if isinstance(value, str)]
    roles = [oidc.roles[value] for value in values if value in oidc.roles]
    best = max(roles, key=list(Role).index) if roles else None
    email = str(claims.get("email") or claims.get("preferred_username") or claims["sub"])[:254]
    person = ask.ledger.person_of_issuer(oidc.issuer, str(claims["sub"]), email=email, role=best, now=ask.now)
    if person is None:
        raise NotSignedIn("nobody that is known here")
    return person


def _client(ask: Ask) -> Any:
    """Authlib's client of the issuer. Imported here: it takes a third of a second, and many desks have no SSO."""
    from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]

    oidc = ask.desk.settings.desk.oidc
    return OAuth().register(
        "issuer",
        client_id=oidc.client_id,
        client_secret=oidc.client_secret.get_secret_value(),
        server_metadata_url=f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256", "timeout": 10.0},
    )


def _cookie(ask: Ask) -> str:
    return f"{ask.desk.site.cookie}-sso"
