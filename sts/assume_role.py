"""AssumeRole and GetSessionToken: the caller is proved by a SigV4 signature with permanent credentials, verified at the front door."""

from __future__ import annotations

from iam.model import PrincipalType
from sts.proof import USER, Proof
from sts.wire import AccessDenied, StsCall

_PERMANENT = frozenset({PrincipalType.ACCOUNT, PrincipalType.USER})


class SignedCaller:
    """A `WayIn` for who has permanent keys: the session's parent is the signer."""

    async def prove(self, call: StsCall) -> Proof:
        """Return the signer; a session, or keys that act for somebody else, may not make another session (trap 46)."""
        signer = call.signer
        if signer is None or signer.type is PrincipalType.ANONYMOUS:
            raise AccessDenied(f"{call.action} needs a signature.", reason=f"{call.action} without a signature")
        if signer.type not in _PERMANENT or signer.parent not in {"", signer.access_key_id}:
            raise AccessDenied(
                f"Only permanent credentials of a user may call {call.action}.",
                reason=f"{call.action} by a session or a service account",
            )
        return Proof(USER, signer.access_key_id)

    async def ready(self) -> str | None:
        """Return None: a signature needs nobody else."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""
