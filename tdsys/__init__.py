"""tdsys: makes, proves, judges and keeps the training examples a DSPy program needs."""

__version__ = "0.1.0"
