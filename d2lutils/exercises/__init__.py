"""The checks that learners call, by exercise name: one file a chapter.

A stub in a chapter is a function (or class) whose body is
``raise NotImplementedError``. It ends in ``exercises.check("name", answer)``, which
prints "not attempted yet" for the stub, what is wrong and for which hidden input, or
"passed"; it never raises for an answer.

    >>> check("nin_head_mib", lambda n, hidden: 0)
    nin_head_mib: not yet. For input (224, 4096) expected 214.227, got 0.

To add an exercise, write a function of its name in its chapter's file, below one of
two decorators from ``engine``:

- ``@by_reference(*inputs)`` over the right answer: the learner's function is called on
  every hidden input and must give the same, numbers within ``rtol`` and ``atol``.
- ``@by_property(*inputs)`` over a function of the answer and a hidden input that calls
  ``require(condition, complaint)`` for each thing that a right answer must have. For
  classes and blocks, or wherever many answers are right.

The inputs are at least three argument tuples, or a function that makes a list of them.
Frameworks are imported by ``framework`` inside functions only, so that a check for one
runs without the other. ``tools/execute.py`` runs a chapter again if its own file here
has changed, but not for another chapter's file.
"""

from __future__ import annotations

from importlib import import_module

from d2lutils.exercises.engine import Result, check, judge, names

__all__ = ["Result", "check", "judge", "names"]

# In the order of the book.
_CHAPTERS = (
    "blocks",
    "same_weights",
    "graph",
    "last_pixels",
    "nin",
    "nin_cost",
    "batch_norm",
    "residual_chunks",
    "zero_padded_shortcuts",
    "pyramidnet",
    "stochastic_depth",
    "condconv",
    "one_idea",
)
for _chapter in _CHAPTERS:
    import_module(f"{__name__}.{_chapter}")
