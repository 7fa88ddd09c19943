"""Signing in by an OpenID issuer: the right answer lets in, every other one is refused without saying why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from issuer import CLIENT, Issuer
from joserfc.jwk import RSAKey
from served import Served
from starlette.testclient import TestClient

from billingsync.core.desk import Role
from billingsync.errors import SettingsError
from billingsync.settings import load_settings

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def by_sso(serve: Callable[..., Served], issuer: Issuer) -> Served:
    oidc = {
        "issuer": issuer.url,
        "client_id": CLIENT,
        "client_secret": "canary-of-the-issuer",
        "roles": '{"Billing.Finance": "financial", "Billing.Admin": "admin"}',
    }
    return serve(login="sso", oidc=oidc)


def _begin(client: TestClient) -> str:
    answer = client.get("/login/sso?next=/me")
    assert answer.status_code == 302
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Max-Age=600" in cookie
    return answer.headers["location"]


def _back(client: TestClient, address: str) -> Any:
    return client.get(address.replace("http://127.0.0.1:8793", ""))


def test_the_right_answer_signs_in_with_the_role_of_its_claim(by_sso: Served, issuer: Issuer) -> None:
    client = by_sso.browser()
    assert 'href="/login/sso' in client.get("/login").text and 'type="password"' not in client.get("/login").text
    answer = _back(client, issuer.approve(_begin(client)))
    assert answer.status_code == 303 and answer.headers["location"] == "/me"
    page = client.get("/me").text
    assert "dana@msp.example" in page and "Financial" in page
    person = by_sso.ledger.people()[0]
    assert (person.issuer, person.subject, person.role) == (issuer.url, "s-1", "financial")
    issuer.claims = {"roles": ["Billing.Admin"], "email": "other@msp.example"}
    _back(client, issuer.approve(_begin(client)))
    assert [person.role for person in by_sso.ledger.people()] == ["admin"]
    assert "canary-of-the-issuer" not in client.get("/me").text


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-app"},
        {"aud": None},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1000},
        {"sub": None},
        {"roles": ["Somebody"]},
        {"roles": None},
    ],
    ids=lambda claims: "-".join(f"{name}" for name in claims),
)
def test_any_other_claim_is_refused(by_sso: Served, issuer: Issuer, claims: dict[str, Any]) -> None:
    client = by_sso.browser()
    issuer.claims = claims
    answer = _back(client, issuer.approve(_begin(client)))
    assert answer.status_code == 401 and "Signing in did not work." in answer.text
    assert not by_sso.ledger.people()
    assert client.get("/me").status_code == 303


def test_another_key_is_refused(by_sso: Served, issuer: Issuer) -> None:
    client = by_sso.browser()
    issuer.signs_with = RSAKey.generate_key(2048, parameters={"kid": "one"})
    assert _back(client, issuer.approve(_begin(client))).status_code == 401


def test_an_answer_is_good_once(by_sso: Served, issuer: Issuer) -> None:
    client = by_sso.browser()
    address = issuer.approve(_begin(client))
    assert _back(client, address).status_code == 303
    client.post("/logout")
    assert _back(client, address).status_code == 401


def test_another_browsers_answer_is_refused(by_sso: Served, issuer: Issuer) -> None:
    mine, theirs = by_sso.browser(), by_sso.browser()
    address = issuer.approve(_begin(theirs))
    assert _back(mine, address).status_code == 401  # none waits there
    _begin(mine)
    assert _back(mine, address).status_code == 401  # another state
    assert _back(theirs, address).status_code == 303


def test_another_state_and_an_error_of_the_issuer_are_refused(by_sso: Served, issuer: Issuer) -> None:
    client = by_sso.browser()
    assert _back(client, issuer.approve(_begin(client), state="another")).status_code == 401
    _begin(client)
    assert client.get("/login/sso/callback?error=access_denied").status_code == 401


def test_another_domain_is_refused(serve: Callable[..., Served], issuer: Issuer) -> None:
    oidc = {"issuer": issuer.url, "client_id": CLIENT, "client_secret": "s", "domain": "msp.example"}
    served = serve(login="both", oidc={**oidc, "roles": '{"Billing.Finance": "financial"}'})
    client = served.browser()
    assert _back(client, issuer.approve(_begin(client))).status_code == 401
    issuer.claims = {"hd": "msp.example"}
    assert _back(client, issuer.approve(_begin(client))).status_code == 303


def test_a_disabled_person_is_refused(by_sso: Served, issuer: Issuer) -> None:
    client = by_sso.browser()
    _back(client, issuer.approve(_begin(client)))
    by_sso.ledger.disable_person(by_sso.ledger.people()[0].id, who="the test", now=by_sso.clock())
    assert _back(client, issuer.approve(_begin(client))).status_code == 401


def test_an_admins_password_goes_past_sso_and_is_told(by_sso: Served) -> None:
    from billingsync.web.passwords import Passwords

    for email, role in (("eve@msp.example", Role.ADMIN), ("dana@msp.example", Role.FINANCIAL)):
        person = by_sso.ledger.add_person(email, role, who="the test", now=by_sso.clock())
        by_sso.ledger.set_password(person.id, Passwords().hash("four words are enough"), who="x", now=by_sso.clock())
    client = by_sso.browser()
    assert 'type="password"' in client.get("/login?password=1").text
    data = {"email": "dana@msp.example", "password": "four words are enough"}
    assert client.post("/login", data=data).status_code == 401
    assert client.post("/login", data={**data, "email": "eve@msp.example"}).status_code == 303
    assert [notice.title for notice in by_sso.ledger.untold()] == [
        "eve@msp.example signed in to the desk with a password"
    ]


def test_without_sso_there_is_no_way_by_it(served: Served) -> None:
    assert served.browser().get("/login/sso").status_code == 404
    assert served.browser().get("/login/sso/callback?code=x").status_code == 404


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"DESK__HOST": "0.0.0.0"}, "DESK__PUBLIC_URL"),
        ({"DESK__HOST": "0.0.0.0", "DESK__PUBLIC_URL": "http://127.0.0.1:8793"}, "https"),
        ({"DESK__PUBLIC_URL": "http://billing.acme.example"}, "https"),
        ({"DESK__PUBLIC_URL": "https://billing.acme.example/desk"}, "scheme and host alone"),
        ({"DESK__LOGIN": "sso"}, "DESK__OIDC__ISSUER"),
        ({"DESK__OIDC__ISSUER": "https://login.microsoftonline.com/common/v2.0"}, "one tenant"),
        ({"DESK__OIDC__ROLES": '{"a": "god"}'}, "user, financial, admin"),
        ({"DESK__PROXIES": "10.0.0.1, proxy"}, "no IP address"),
    ],
)
def test_settings_that_would_be_unsafe_are_refused(settings: dict[str, str], says: str, tmp_path: Any) -> None:
    env = {f"BILLINGSYNC_{name}": value for name, value in settings.items()}
    with pytest.raises(SettingsError, match=says):
        load_settings(env=env, cwd=tmp_path, run_secrets=tmp_path / "none")
