"""Temporary credentials: an identity proved in, a session out.

wire       form or query -> StsCall; result or StsError -> XML
service    the phases every call shares: validate -> prove -> authorize -> clamp -> mint -> record
client_grants, web_identity, assume_role    each: only how its caller is proved
oidc       token verification with PyJWT
jwks       the provider's keys: discovery and JWKS over httpx, kept and rotated
sessions   the session token (HS512 JWT) and the secret derived from its access key
principal  an opened session -> who asks
"""
