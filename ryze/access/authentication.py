"""Authentication: the token of a request, and the principal that it proves (contract, section 1).

A token is compared by its hash. A TokenAccount reaches all instances of its account, a
TokenInstance exactly one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ryze.access.rate_limits import Window
from ryze.errors import INVALID_TOKEN, ApiError
from ryze.instances.registry import Registry
from ryze.records import Instance
from ryze.store import hash_token

__all__ = ["Principal", "authenticate", "require_principal", "sent_token"]

_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """The account or instance that a valid token belongs to.

    Args:
        account_id: the account that the token belongs to.
        instance: the one instance that a TokenInstance reaches; None for a TokenAccount.
        token_hash: identifies the token without disclosing it.
    """

    account_id: int
    instance: Instance | None
    token_hash: str

    def may_use(self, name: str) -> bool:
        """Does the token reach an instance of this name?"""
        return self.instance is None or self.instance.name == name


def sent_token(headers: Mapping[str, str], query_token: str = "") -> str:
    """Return the token of a request: header ``token``, then ``Authorization``, then the query's."""
    authorization = headers.get("authorization", "").strip()
    is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
    bearer = authorization[len(_BEARER) :] if is_bearer else ""
    candidates = (headers.get("token", ""), bearer, query_token)
    return next((token.strip() for token in candidates if token.strip()), "")


def authenticate(registry: Registry, token: str) -> Principal | None:
    """Return the principal of a token; None if the token is not valid."""
    token_hash = hash_token(token)
    # The hash object of the record is kept, not the one computed here: every open connection
    # holds a reference to it.
    if account := registry.account_by_token_hash(token_hash):
        return Principal(account.id, None, account.token_hash)
    if instance := registry.instance_by_token_hash(token_hash):
        return Principal(instance.account_id, instance, instance.token_hash)
    return None


def require_principal(principal: Principal | None, window: Window | None) -> Principal:
    """Refuse a request without a valid token, or over its rate limit.

    The rate limit comes first: an address that sends one wrong token after another is told to
    stop.

    Raises:
        ApiError: 429 over the limit, else 401 without a valid token.
    """
    if window:
        window.check()
    if principal is None:
        raise ApiError(INVALID_TOKEN)
    return principal
