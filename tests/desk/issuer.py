"""An OpenID issuer for tests: what it signs, and how it errs, is the test's choice."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billingsync.service.http_port import Port

CLIENT = "the-desk"


class Issuer(Port):
    """`claims` go over the right ones in the next ID token."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig", "alg": "RS256"})
        self.signs_with = self.key
        self.codes: dict[str, dict[str, str]] = {}
        routes = [
            Route("/.well-known/openid-configuration", self._about),
            Route("/keys", self._keys),
            Route("/token", self._token, methods=["POST"]),
        ]
        super().__init__("127.0.0.1", 0, routes, group="DESK")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def approve(self, location: str, **changed: str) -> str:
        """What the browser is sent back with, after its person signed in at `location`."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert asked["code_challenge_method"] == "S256" and asked["client_id"] == CLIENT
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked | changed
        return f"{asked['redirect_uri']}?code={code}&state={changed.get('state', asked['state'])}"

    async def _about(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _keys(self, request: Request) -> Response:
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.codes.pop(form["code"], None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if asked is None or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "s-1", "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            "email": "dana@msp.example", "roles": ["Billing.Finance"],
        }  # fmt: skip
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signs_with)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": token, "expires_in": 300})
