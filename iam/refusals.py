"""What a change refuses; the text is for the administrator."""


class ChangeError(Exception):
    """The base of what a change refuses."""


class NoSuchUser(ChangeError):
    """There is no such user."""


class NoSuchGroup(ChangeError):
    """There is no such group."""


class NoSuchPolicy(ChangeError):
    """There is no such policy."""


class NoSuchAccount(ChangeError):
    """There is no such service account."""


class NoSuchKey(ChangeError):
    """There is no such session key."""


class NoSuchSession(ChangeError):
    """No session of that access key is recorded."""


class TooManyTypes(ChangeError):
    """The sessions of one parent were ended by as many types as are kept apart; all of them can be ended."""


class AlreadyExists(ChangeError):
    """The name is taken."""


class InvalidName(ChangeError):
    """The text is no name of this kind."""


class InvalidSecret(ChangeError):
    """A secret key has 8 to 128 characters."""


class InvalidPolicy(ChangeError):
    """The policy does not parse; the text says where."""


class PolicyInUse(ChangeError):
    """The policy is attached to somebody."""


class GroupNotEmpty(ChangeError):
    """Only an empty group can be removed."""


class NothingChanged(ChangeError):
    """What was asked for is so already."""


class Contended(ChangeError):
    """Others changed the same records at every try."""


class Unfinished(ChangeError):
    """A change of many records, which takes several transactions, broke off after some: the text says how far, the cause why."""
