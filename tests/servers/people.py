"""A person at an OpenID provider's pages: the authorization code flow with its forms filled in (RFC 6749 section 4.1)."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

CALLBACK = "http://127.0.0.1/callback"  # nobody listens there: the code is read from the address


def sign_in(config_url: str, client: str, secret: str, *, user: str, password: str, scope: str = "openid") -> dict:
    """Return the token response that a client gets for a person: id_token, access_token and the rest."""
    found = httpx.get(config_url, timeout=30).json()
    asked = {"client_id": client, "response_type": "code", "redirect_uri": CALLBACK, "scope": scope, "state": "s"}
    with httpx.Client(timeout=60) as browser:
        code = _code(browser, browser.get(found["authorization_endpoint"], params=asked), user, password)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    answer = httpx.post(found["token_endpoint"], data=form, auth=(client, secret), timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _code(browser: httpx.Client, page: httpx.Response, user: str, password: str) -> str:
    for _ in range(12):
        for cookie in browser.cookies.jar:
            cookie.secure = False  # to a browser loopback is as good as TLS, to Python's cookie jar it is not
        if page.is_redirect:
            address = urljoin(str(page.url), page.headers["location"])
            if address.startswith(CALLBACK):
                return parse_qs(urlsplit(address).query)["code"][0]
            page = browser.get(address)
            continue
        form = re.search(r"<form[^>]*action=\"([^\"]*)\".*?</form>", page.text, re.DOTALL)
        assert form is not None, page.text[:2000]
        fields = {"username": user, "login": user, "password": password} | dict(
            re.findall(r"<input type=\"hidden\" name=\"(\w+)\" value=\"([^\"]*)\"", form[0])
        )
        page = browser.post(urljoin(str(page.url), html.unescape(form[1])), data=fields)
    raise AssertionError(page.text[:2000])
