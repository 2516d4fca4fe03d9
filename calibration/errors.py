"""What goes wrong, by name: errors that say what was found, what was needed, what to do."""


class DataError(ValueError):
    """The data cannot answer; the message says what was found, what was needed, what to do."""


class CalibrationError(DataError):
    """The board views do not determine the cameras; the message says what to record."""


class DataWarning(UserWarning):
    """A result was made, and there is something about the data that its user must know."""
