"""Temporary credentials: an identity proved in, a session out.

wire       form or query -> StsCall; result or StsError -> XML
parameters every action's parameters, in one table; what a call asks for
service    the phases every call shares: validate -> prove -> clamp -> authorize -> mint -> record
proof      what a way in proves; assume_role, openid, ldap, certificate, custom_token are the ways
questions  what a policy may ask about a call;  narrowing  Policy and PolicyArns as one session policy
caller_identity  who signed, as AWS tells it
client_grants, web_identity, assume_role    each: only how its caller is proved
oidc       token verification with PyJWT
jwks       the provider's keys: discovery and JWKS over httpx, kept and rotated
sessions   the session token (HS512 JWT, or sealed) and the secret derived from its access key
principal  an opened session -> who asks
"""
