# SPDX-License-Identifier: Apache-2.0
"""Convolution problems: their texts, their data, and the float64 reference of chosen outputs."""

from dataclasses import dataclass, replace
from pathlib import Path
import re
import zlib

import numpy as np

# A bound is CONSTANT * UNIT * (sum of |x| |w| + |b|), elementwise. The constant is the one that
# metalconv gives vendors: their algorithm is not known, and Winograd's F(6x6) has reached 58.
CONSTANT = 256.0
UNIT = 2.0**-24

# Multiply-adds of the reference a problem; larger outputs are compared at points.
REFERENCE_BUDGET = 60_000_000
FEWEST_POINTS = 4096


@dataclass(frozen=True)
class Problem:
    name: str
    text: str
    n: int
    c: int
    h: int
    w: int
    k: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]  # top, left, bottom, right
    dilation: tuple[int, int]
    groups: int
    layout: str

    @property
    def out_h(self) -> int:
        top, _, bottom, _ = self.padding
        taps = self.dilation[0] * (self.kernel[0] - 1) + 1
        return (self.h + top + bottom - taps) // self.stride[0] + 1

    @property
    def out_w(self) -> int:
        _, left, _, right = self.padding
        taps = self.dilation[1] * (self.kernel[1] - 1) + 1
        return (self.w + left + right - taps) // self.stride[1] + 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.k, self.c // self.groups, *self.kernel)

    def shape(self, channels: int, height: int, width: int) -> tuple[int, int, int, int]:
        """The shape of activations in the problem's layout."""
        if self.layout == "nhwc":
            return (self.n, height, width, channels)
        return (self.n, channels, height, width)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.shape(self.c, self.h, self.w)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.shape(self.k, self.out_h, self.out_w)


def _pair(numbers: list[int]) -> tuple[int, int]:
    return (numbers[0], numbers[-1])


def parse(name: str, text: str) -> Problem:
    """A problem from the text in which `metalconv list` writes it, with every field."""
    size, outputs, kernel, *fields = text.split(",")
    values = {"s": [1], "p": [0], "d": [1], "g": [1]}
    words = set()
    for field in fields:
        if match := re.fullmatch(r"([spdg])([\dx]+)", field):
            values[match[1]] = [int(v) for v in match[2].split("x")]
        else:
            words.add(field)
    if unknown := words - {"f32", "nchw", "nhwc", "bias"}:
        names = ", ".join(sorted(unknown))
        raise ValueError(f"'{text}' has {names}, which peers are not asked for")
    if "bias" not in words:
        raise ValueError(f"'{text}' has no bias, and peers are compared with one")
    n, c, h, w = (int(v) for v in size.split("x"))
    padding = values["p"] if len(values["p"]) == 4 else [*_pair(values["p"])] * 2
    return Problem(
        name=name,
        text=text,
        n=n,
        c=c,
        h=h,
        w=w,
        k=int(outputs.removeprefix("k")),
        kernel=_pair([int(v) for v in kernel.split("x")]),
        stride=_pair(values["s"]),
        padding=tuple(padding),
        dilation=_pair(values["d"]),
        groups=values["g"][0],
        layout="nhwc" if "nhwc" in words else "nchw",
    )


def with_layout(problem: Problem, layout: str) -> Problem:
    def renamed(text: str) -> str:
        return text.replace(problem.layout, layout)

    return replace(
        problem, layout=layout, name=renamed(problem.name), text=renamed(problem.text)
    )


@dataclass(frozen=True)
class Data:
    x: np.ndarray  # in the problem's layout
    weights: np.ndarray  # K, C/groups, R, S
    bias: np.ndarray


def make_data(problem: Problem) -> Data:
    """The same zero-mean numbers for everyone, and for each run."""
    random = np.random.default_rng(zlib.crc32(problem.text.encode()))
    shapes = (problem.x_shape, problem.weight_shape, (problem.k,))
    return Data(*(random.uniform(-1, 1, shape).astype(np.float32) for shape in shapes))


def save_data(folder: Path, data: Data) -> None:
    for name in ("x", "weights", "bias"):
        np.save(folder / f"{name}.npy", getattr(data, name))


def load_data(folder: Path) -> Data:
    return Data(*(_aligned(np.load(folder / f"{name}.npy")) for name in ("x", "weights", "bias")))


def _aligned(array: np.ndarray) -> np.ndarray:
    """At a multiple of 64 bytes, as libraries align their own memory."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    aligned = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    aligned[...] = array
    return aligned


def empty_output(problem: Problem) -> np.ndarray:
    """NaN, which no check takes for a result."""
    return _aligned(np.full(problem.y_shape, np.nan, np.float32))


def points_of(problem: Problem) -> np.ndarray:
    """Flat indices into y of the outputs to compare: all, or one at random of each of many equal
    runs of outputs, and the border of the first and the last plane."""
    total = int(np.prod(problem.y_shape))
    taps = int(np.prod(problem.weight_shape[1:]))
    count = max(FEWEST_POINTS, REFERENCE_BUDGET // taps)
    if total <= count:
        return np.arange(total)
    random = np.random.default_rng(total)
    edges = np.linspace(0, total, count + 1).astype(np.int64)
    spread = edges[:-1] + (random.random(count) * np.diff(edges)).astype(np.int64)
    return np.unique(np.concatenate([spread, _borders(problem)]))


def _borders(problem: Problem) -> np.ndarray:
    index = np.arange(np.prod(problem.y_shape)).reshape(problem.y_shape)
    planes = np.moveaxis(index, -1, 1) if problem.layout == "nhwc" else index
    sides = []
    for plane in (planes[0, 0], planes[-1, -1]):
        sides += [plane[0], plane[-1], plane[:, 0], plane[:, -1]]
    return np.concatenate(sides)


@dataclass(frozen=True)
class Reference:
    points: np.ndarray
    values: np.ndarray  # float64
    bounds: np.ndarray  # the error that is allowed at each point
    total: int


def reference_of(problem: Problem, data: Data) -> Reference:
    """By the definition, in float64, sharing nothing with any library."""
    points = points_of(problem)
    coordinates = np.unravel_index(points, problem.y_shape)
    if problem.layout == "nhwc":
        n, p, q, k = coordinates
        x = np.moveaxis(data.x, -1, 1)
    else:
        n, k, p, q = coordinates
        x = data.x
    top, left, bottom, right = problem.padding
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    weights, bias = data.weights.astype(np.float64), data.bias.astype(np.float64)
    values, sizes = np.empty(len(points)), np.empty(len(points))
    chunk = max(1, 4_000_000 // int(np.prod(problem.weight_shape[1:])))
    for start in range(0, len(points), chunk):
        part = slice(start, start + chunk)
        window = _windows(problem, x, n[part], k[part], p[part], q[part])
        products = window * weights[k[part]]
        values[part] = products.sum(axis=(1, 2, 3)) + bias[k[part]]
        sizes[part] = np.abs(products).sum(axis=(1, 2, 3)) + np.abs(bias[k[part]])
    return Reference(points, values, CONSTANT * UNIT * sizes, int(np.prod(problem.y_shape)))


def _windows(problem: Problem, x: np.ndarray, n, k, p, q) -> np.ndarray:
    """What each output sums: its inputs, as points x channels x R x S."""
    inputs, rows, columns = problem.weight_shape[1:]
    group = k // (problem.k // problem.groups)
    channel = (group * inputs)[:, None, None, None] + np.arange(inputs)[:, None, None]
    row = (p * problem.stride[0])[:, None] + np.arange(rows) * problem.dilation[0]
    column = (q * problem.stride[1])[:, None] + np.arange(columns) * problem.dilation[1]
    return x[n[:, None, None, None], channel, row[:, None, :, None], column[:, None, None, :]]


@dataclass(frozen=True)
class Verdict:
    ok: bool
    reason: str  # empty when ok
    worst: float  # the largest error / (UNIT * sum), which the constant bounds; NaN without any


def compare(reference: Reference, values: np.ndarray, finite: bool) -> Verdict:
    """`values` are the outputs at the reference's points; `finite` is of the whole output."""
    if values.shape != reference.values.shape:
        return Verdict(False, "the output has the wrong size", float("nan"))
    error = np.abs(values.astype(np.float64) - reference.values)
    ratio = error / reference.bounds
    wrong = ~(error <= reference.bounds)  # so that NaN is wrong
    worst = float(ratio.max()) * CONSTANT
    if wrong.any():
        at = int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)))
        reason = (
            f"{int(wrong.sum())} of {len(wrong)} compared outputs are wrong, worst output "
            f"{reference.points[at]}: {values[at]:.9g} instead of {reference.values[at]:.9g}"
        )
        return Verdict(False, reason, worst)
    if not finite:
        return Verdict(False, "the output has values that are not finite", worst)
    return Verdict(True, "", worst)
