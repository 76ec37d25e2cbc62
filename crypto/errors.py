"""Everything that can go wrong, as one tree.

    TidingsError
    ├── ConfigError          a file, a flag or a value of the user's              exit code 2
    │   └── MovedAway    a folder whose peer was moved to another              exit code 2
    ├── IdentityError        a secret key that is missing, wrong or unsafe        exit code 3
    ├── StorageError         a disk that is full, a folder that cannot be used    exit code 4
    ├── TransportError       an address or a port that cannot be used             exit code 5
    ├── BudgetExhausted      the privacy budget does not allow another release    exit code 6
    └── RemoteError          bytes from outside that were refused; never ends a peer
        ├── OverLong         longer than the limit; nothing of it was read
        ├── Malformed        not a frame of this protocol: truncated, not canonical, bad schema
        ├── BadSignature     not signed by the key that it names
        ├── WrongNetwork     meant for another network
        ├── NotAMember       signed by a key that holds no certificate of this network
        ├── Revoked          signed by a key whose certificate was withdrawn
        ├── Replayed         seen before
        ├── Unwanted         an entry of a feed that nobody here follows
        ├── OutOfOrder       skips entries that were never received; they are pulled
        ├── UnknownKey       sealed with a group key that this peer does not hold
        ├── Tampered         the payload is not the one that was signed or sealed
        ├── WrongShape       a model of another size
        ├── WrongState       leads to another public copy than its signed header says
        └── Equivocation     a second, different entry with the same number

A docstring below is what the command line prints under "what it means". Exit code 1 is an
internal error (a bug of ours), 130 is Ctrl-C.
"""

from __future__ import annotations

from typing import ClassVar


class TidingsError(Exception):
    """Something went wrong that a person can mend."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f" ({self.fix})" if self.fix else ""
        return f"{place}{self.what}{mend}"


class ConfigError(TidingsError):
    """A setting cannot be used as it was given. Nothing was changed."""

    exit_code = 2


class MovedAway(ConfigError):  # a state, as BudgetExhausted is
    """The peer lives in another folder now, with what is left of its privacy budget.

    This folder stays disabled for good.
    """


class IdentityError(TidingsError):
    """A secret key is missing, is not the right one, or can be read by others."""

    exit_code = 3


class StorageError(TidingsError):
    """The disk or the folder could not be used. What was stored before is intact."""

    exit_code = 4


class TransportError(TidingsError):
    """The network address could not be used, or a link broke."""

    exit_code = 5


class BudgetExhausted(TidingsError):  # a state, named as the field names it
    """The next release would overspend the privacy budget, so this peer trains no more.

    It keeps listening, mixing and relaying: that costs no privacy.
    """

    exit_code = 6


class RemoteError(TidingsError):
    """Bytes from outside were refused. The peer carries on."""

    reason: ClassVar[str] = "refused"


class OverLong(RemoteError):
    """A frame is longer than the limit."""

    reason = "over-long"


class Malformed(RemoteError):
    """The bytes are not a frame of this protocol."""

    reason = "malformed"


class BadSignature(RemoteError):
    """The signature does not belong to the key that the frame names."""

    reason = "bad-signature"


class WrongNetwork(RemoteError):
    """The frame is meant for another network."""

    reason = "wrong-network"


class NotAMember(RemoteError):
    """The author holds no certificate of this network."""

    reason = "not-a-member"


class Revoked(RemoteError):
    """The author's certificate was withdrawn."""

    reason = "revoked"


class Replayed(RemoteError):
    """The message was seen before."""

    reason = "replayed"


class Unwanted(RemoteError):
    """The entry belongs to a feed that nobody here follows."""

    reason = "unwanted"


class OutOfOrder(RemoteError):
    """The entry follows on entries that were never received."""

    reason = "out-of-order"


class UnknownKey(RemoteError):
    """The payload is sealed with a group key that this peer does not hold."""

    reason = "unknown-key"


class Tampered(RemoteError):
    """The payload is not the one that was signed or sealed."""

    reason = "tampered"


class WrongShape(RemoteError):
    """The payload describes a model of another size."""

    reason = "wrong-shape"


class WrongState(RemoteError):
    """The payload leads to another public copy than the signed header names."""

    reason = "wrong-state"


class Equivocation(RemoteError):
    """The author signed two different entries with one number."""

    reason = "equivocation"
