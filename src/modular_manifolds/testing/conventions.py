"""What manifolds, norms and geometries promise alike: batches, transposes, dtypes, arguments, empty tensors, values."""

import dataclasses
import pickle
import sys
from itertools import product
from typing import Any

import torch
from torch import Tensor

from modular_manifolds import manifolds, norms
from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Checks
from modular_manifolds.testing.mirrors import mirrored
from modular_manifolds.testing.operations import Operation, offered, operations
from modular_manifolds.testing.shapes import EMPTY, has_shape

convention_checks: Checks[Any] = Checks()

UNEQUAL = (1.0, 0.0, 1e-3, 2.0)
"""Factors on the vectors of a batch, no two of which may depend on each other."""


@convention_checks.add(effort=0.5)
def batched_equals_looped(case: Case[Any]) -> None:
    """Of matrices of different size, one of them zero."""
    batched = dataclasses.replace(case, shape=(2, 2, *case.shape[-2:]))
    for operation, _ in operations(batched):
        if operation.unique:
            *points, last = operation.arguments
            factors = torch.tensor(UNEQUAL, dtype=case.dtype).reshape(2, 2, 1, 1)
            arguments = *points, last * factors if operation.vector else last
            together = operation(*arguments)
            for i, j in product(range(2), range(2)):
                alone = operation(*(argument[i, j] for argument in arguments))
                _compare(case, operation, f"{operation.name} of a batch, beside that of one", together[i, j], alone)


@convention_checks.add(effort=0.5)
def wide_is_the_transpose_of_tall(case: Case[Any]) -> None:
    """For every operation, against that of `Case.mirror`, or what `mirrored` finds."""
    mirror = case.mirror or mirrored(case.subject)
    if (
        mirror is None or case.shape[-2] == case.shape[-1]
    ):  # what is constrained, rows or columns, may hang on the sides
        return
    turned = {operation.name: operation for operation in offered(mirror, case)}
    for operation, result in operations(case):
        if operation.unique:
            other = turned[operation.name].call(*(argument.mT for argument in operation.arguments))
            other = other.mT if other.ndim == len(case.shape) else other
            _compare(case, operation, f"{operation.name} of the transpose, beside its own", other, result)


@convention_checks.add()
def dtype_device_and_shape_are_kept(case: Case[Any]) -> None:
    for operation, result in operations(case):
        argument = operation.arguments[-1]
        case.holds(f"{operation.name} keeps the device", result.device == argument.device)
        matrix = result.ndim == argument.ndim
        expected = argument.shape if matrix else argument.shape[:-2]
        case.holds(f"{operation.name} has shape {tuple(expected)}, not {tuple(result.shape)}", result.shape == expected)
        if operation.kept:
            case.holds(f"{operation.name} keeps the dtype, and is not {result.dtype}", result.dtype == argument.dtype)


@convention_checks.add()
def arguments_are_left_alone(case: Case[Any]) -> None:
    """And no result shares their memory."""
    for operation, _ in operations(case):
        kept = [argument.clone() for argument in operation.arguments]
        result = operation()
        if operation.fresh:
            result.fill_(7.0)
        same = all(torch.equal(a, b) for a, b in zip(kept, operation.arguments, strict=True))
        case.holds(f"{operation.name} leaves its arguments alone", same)


@convention_checks.add(effort=0.5)
def nan_is_passed_on(case: Case[Any]) -> None:
    """From the last argument, to its own matrix of a batch and to no other."""
    batched = dataclasses.replace(case, shape=(2, *case.shape[-2:]))
    for operation, _ in operations(batched):
        *points, last = operation.arguments
        if operation.name == "violation" and not bool((operation(*points, 3 * last) > 0).any()):
            continue  # nothing is off a set of all matrices
        broken = last.clone()
        broken[0, 0, -1] = torch.nan
        if operation.name == "violation":  # a block of a product may be free
            broken[0] = torch.nan
        result = operation(*points, broken)
        case.holds(f"{operation.name} passes a NaN on", bool(result[0].isnan().any()))
        case.holds(f"{operation.name} keeps a NaN to its matrix", bool(result[1].isfinite().all()))


@convention_checks.add(once=True)
def empty_tensors_are_ordinary(case: Case[Any]) -> None:
    """Among the empty shapes that the subject has, and an empty batch of its own."""
    for shape in (*EMPTY, (0, *case.shape[-2:])):
        if has_shape(case.subject, shape):
            for operation, result in operations(dataclasses.replace(case, shape=shape)):
                fits = tuple(result.shape) in (shape, shape[:-2]) and not bool(result.isnan().any())
                case.holds(f"{operation.name} of shape {shape} is empty or zero, and not {result}", fits)
            if isinstance(case.subject, manifolds.Manifold):
                case.holds(f"{shape} has dimension 0", case.subject.dimension(shape) == 0)


@convention_checks.add(once=True)
def is_a_value(case: Case[Any]) -> None:
    """Frozen, comparable, hashable, picklable, and rebuilt from what it prints."""
    subject = case.subject
    case.holds("it is a frozen dataclass", _is_frozen(subject))
    case.holds("dataclasses.replace makes an equal one", dataclasses.replace(subject) == subject)
    twin = pickle.loads(pickle.dumps(subject))
    case.holds("pickle makes an equal one", twin == subject and hash(twin) == hash(subject))
    case.holds(f"evaluating {subject!r} makes an equal one", eval(repr(subject), _names(subject)) == subject)


def _compare(case: Case[Any], operation: Operation, what: str, x: Tensor, y: Tensor) -> None:
    if operation.tolerance is None:
        case.same(what, x, y, max(float(a.double().norm()) for a in (y, *operation.arguments)))
    else:
        case.at_most(f"relative error of {what}", (x - y).abs(), operation.tolerance * y.abs())


def _is_frozen(subject: Any) -> bool:
    parameters = getattr(type(subject), "__dataclass_params__", None)
    return parameters is not None and parameters.frozen


def _names(subject: Any) -> dict[str, Any]:
    """What the names in a subject's repr may mean."""
    names: dict[str, Any] = {**vars(manifolds), **vars(norms), **vars(sys.modules[type(subject).__module__])}
    for field in dataclasses.fields(subject):
        value = getattr(subject, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(part):
                names |= _names(part)
    return names | {type(subject).__name__: type(subject)}
