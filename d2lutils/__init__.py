"""Utilities of the book: a framework-free core and two mirrored halves.

Importing this package imports no framework. ``d2lutils.gluon`` needs MXNet only,
``d2lutils.pytorch`` needs PyTorch only. The two mirror each other: the same files,
classes and argument names, in the same order.
"""

__version__ = "0.1.0"
