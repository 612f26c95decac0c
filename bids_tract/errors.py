"""What can go wrong, as exceptions that carry the program's exit code.

Every message is one sentence or two: what was found, where, what was expected and what to do.
"""


class BidsTractError(Exception):
    """A failure whose message is meant for the person who ran the program."""

    exit_code = 1


class UsageError(BidsTractError):
    """The command line or the configuration file does not make sense."""

    exit_code = 2


class NotBidsError(BidsTractError):
    """The input folder is not a BIDS dataset."""

    exit_code = 16


class NothingSelectedError(BidsTractError):
    """The filters left no scan to work on."""

    exit_code = 18


class DataError(BidsTractError):
    """The data are there, but cannot be used."""

    exit_code = 65


class MissingInputError(BidsTractError):
    """A file that the chosen method needs is not there."""

    exit_code = 66


class InternalError(BidsTractError):
    """Our own fault."""

    exit_code = 70


class OutputError(BidsTractError):
    """The output folder cannot be written."""

    exit_code = 73
