# SPDX-License-Identifier: Apache-2.0
"""2-D convolution on Apple GPUs (Metal), NVIDIA GPUs (CUDA) and CPUs.

    y = metalconv.conv2d(x, w, bias, stride=2, padding=1, activation="relu")

x, w and bias are NumPy arrays or anything that speaks DLPack (PyTorch, JAX, CuPy ...), float32,
float16 or bfloat16, contiguous. They are read where they lie. The result is of the kind of x.
"""
from __future__ import annotations

import collections
import json
import operator
import sys
import threading
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy

from . import _core
from ._core import Error, devices

__version__: str = _core.version
__all__ = ["Error", "Plan", "bench", "conv2d", "devices"]

Pair = Union[int, Sequence[int]]
_LIMIT = 2**62


def _integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise Error(f"{name} is {value!r}, but must be an integer") from None
    if not -_LIMIT < number < _LIMIT:
        raise Error(f"{name} is {number}, but must be within +-2^62")
    return number


def _numbers(name: str, value: Any, counts: Tuple[int, ...]) -> List[int]:
    """One integer, or as many as `counts` allows."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [_integer(name, value)]
    numbers = [_integer(name, v) for v in value]
    if len(numbers) not in counts:
        wanted = " or ".join(str(n) for n in counts)
        raise Error(f"{name} has {len(numbers)} numbers, but must be an integer or {wanted} of them")
    return numbers


def _pair(name: str, value: Any) -> List[int]:
    numbers = _numbers(name, value, (2,))
    return numbers * 2 if len(numbers) == 1 else numbers


def _padding(padding: Any, kernel: Sequence[int], stride: Sequence[int],
             dilation: Sequence[int]) -> Dict[str, int]:
    sides = ("pad_top", "pad_left", "pad_bottom", "pad_right")
    if isinstance(padding, str):
        if padding == "valid":
            return dict.fromkeys(sides, 0)
        if padding != "same":
            raise Error(f"padding is {padding!r}, but must be 'same', 'valid', an integer, 2 or 4 of them")
        if any(s != 1 for s in stride):
            raise Error(f"padding is 'same' with stride {tuple(stride)}, but needs stride 1")
        total = [d * (k - 1) for d, k in zip(dilation, kernel)]
        before = [t // 2 for t in total]  # an odd one more behind, as in PyTorch
        return dict(zip(sides, before + [t - b for t, b in zip(total, before)]))
    numbers = _numbers("padding", padding, (2, 4))
    if len(numbers) == 1:
        numbers *= 4
    elif len(numbers) == 2:
        numbers *= 2
    return dict(zip(sides, numbers))


def _is_bfloat16(array: Any) -> bool:
    """NumPy knows it through ml_dtypes alone, and exports it by no protocol."""
    return isinstance(array, numpy.ndarray) and array.dtype.name == "bfloat16"


_CUDA, _CUDA_MANAGED = 2, 13  # DLPack's device types
_DEFAULT_STREAM = 1  # CUDA's legacy default stream, as __dlpack__ numbers them: plans run there


def _exported(array: Any) -> Any:
    """A DLPack capsule where `array` can make one, else itself. Of a CUDA tensor, its library makes
    the default stream wait for what there is still to do on its own current stream."""
    if isinstance(array, numpy.ndarray) or not hasattr(array, "__dlpack__"):
        return array
    place = getattr(array, "__dlpack_device__", lambda: (None, 0))()
    stream = {"stream": _DEFAULT_STREAM} if place[0] in (_CUDA, _CUDA_MANAGED) else {}
    try:
        return array.__dlpack__(max_version=(1, 0), **stream)
    except TypeError:  # a producer of before max_version
        return array.__dlpack__(**stream)


def _never_changes(array: Any) -> bool:
    """JAX compiles in the belief that its arrays do not, and exports them as if they might."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, jax.Array)


def _tensor(name: str, array: Any, write: bool = False) -> _core.Tensor:
    bits = _is_bfloat16(array)
    why = "which is neither a NumPy array nor speaks DLPack"
    if write and (isinstance(array, numpy.ndarray) or _never_changes(array)):
        why = "which cannot be written"
    elif hasattr(array, "__dlpack__"):
        why = "which cannot be written" if write else "whose elements or strides are not readable"
    try:
        if not write:
            return _core.Tensor.read(name, array.view(numpy.uint16) if bits else _exported(array), bits)
        if not _never_changes(array):
            return _core.Tensor.write(name, array.view(numpy.uint16) if bits else _exported(array), bits)
    except Error:
        raise
    except TypeError:
        pass
    except (BufferError, RuntimeError, ValueError) as error:  # the producer's own words
        why = f"which refuses DLPack: {error}"
    kind = f"{type(array).__module__}.{type(array).__qualname__}"
    raise Error(f"{name} is a {kind}, {why}")


def _like(x: Any, made: _core.Tensor) -> Any:
    """The tensor as an array of the library that x is of, without a copy."""
    if isinstance(x, numpy.ndarray):
        return made.numpy().view(x.dtype)
    exported = made.dlpack()
    namespace = getattr(x, "__array_namespace__", None)
    for library in (namespace() if namespace else None,
                    sys.modules.get(type(x).__module__.partition(".")[0])):
        if hasattr(library, "from_dlpack"):
            return library.from_dlpack(exported)
    return exported


_AXES = {"nchw": "NCHW", "nhwc": "NHWC"}


class Plan:
    """A convolution of one shape: planned once, weights packed once, executed many times.

        plan = metalconv.Plan(x.shape, w.shape, padding=1).pack(w)
        for x in images:
            plan(x, out=y)

    x_shape: N, C, H, W (N, H, W, C with layout="nhwc"); without N it is a batch of one.
    w_shape: K, C/groups, R, S in either layout.
    dtype: "f32", "f16" or "bf16", of x, w, bias and y; sums are taken in f32.
    stride, dilation: an integer or (height, width). padding: the same, or (top, left, bottom,
    right), "valid", or "same" (stride 1).
    activation: None, "relu", "relu6" or "silu" (on GPUs; the cpu's kernels refuse it).
    device: "auto" (the best here that is timed), "cpu", "cuda", "cuda:1", "metal", "emulator".
    implementation: "optimized", "basic" or "vendor"; kernel: one of its kernels by name.

    Errors are metalconv.Error, a ValueError. A plan may execute in several threads at once.
    """

    def __init__(self, x_shape: Sequence[int], w_shape: Sequence[int], *, bias: bool = False,
                 stride: Pair = 1, padding: Union[str, Pair] = 0, dilation: Pair = 1,
                 groups: int = 1, activation: Optional[str] = None, dtype: str = "f32",
                 layout: str = "nchw", device: str = "auto", implementation: str = "optimized",
                 kernel: str = "") -> None:
        if layout not in _AXES:
            raise Error(f"layout is {layout!r}, but must be 'nchw' or 'nhwc'")
        x_sizes = [_integer("x_shape", n) for n in x_shape]
        w_sizes = [_integer("w_shape", n) for n in w_shape]
        if len(x_sizes) == 3:
            x_sizes.insert(0, 1)
        if len(x_sizes) != 4 or len(w_sizes) != 4:
            raise Error(f"x has shape {tuple(x_shape)} and w {tuple(w_shape)}, but x must have 4 "
                        "dimensions, or 3 without N, and w must have 4 (K, C/groups, R, S)")
        numbers = dict(zip(_AXES[layout], x_sizes))
        numbers["groups"] = _integer("groups", groups)
        numbers["K"], channels, numbers["R"], numbers["S"] = w_sizes
        if channels * numbers["groups"] != numbers["C"]:
            raise Error(f"w has {channels} channels a group and groups is {numbers['groups']}, "
                        f"but x has {numbers['C']} channels")
        strides, dilations = _pair("stride", stride), _pair("dilation", dilation)
        numbers["stride_h"], numbers["stride_w"] = strides
        numbers["dilation_h"], numbers["dilation_w"] = dilations
        numbers.update(_padding(padding, w_sizes[2:], strides, dilations))
        for name, value in (("activation", activation or "none"), ("device", device),
                            ("dtype", dtype), ("implementation", implementation), ("kernel", kernel)):
            if not isinstance(value, str):
                raise Error(f"{name} is {value!r}, but must be a string")
        kind, _, ordinal = device.partition(":")
        if ordinal and not (kind == "cuda" and ordinal.isdecimal() and len(ordinal) < 4):
            raise Error(f"device is {device!r}, but only cuda takes a number: 'cuda:1'")
        self._core = _core.Plan(kind, int(ordinal or 0), numbers, dtype, layout, bool(bias),
                                activation or "none", implementation, kernel)

    def pack(self, w: Any, bias: Any = None) -> Plan:
        """Convert the weights (K, C/groups, R, S) to the kernel's own form; later changes of w are
        not seen. The bias (K) is kept and read where it lies at each execution, or copied now to
        a device that does not see the host's memory."""
        self._core.pack(_tensor("w", w), None if bias is None else _tensor("bias", bias))
        return self

    def __call__(self, x: Any, out: Any = None) -> Any:
        """act(conv(x, w) + bias): `out` itself if given, else a new array of the kind of x."""
        tensor = _tensor("x", x)
        if out is None and hasattr(x, "new_empty"):  # PyTorch keeps memory at hand, drivers do not
            shape = self._core.output_shape
            out = x.new_empty(shape if len(tensor.shape) == 4 else shape[1:])
        result = self._core.output(tensor, _is_bfloat16(x)) if out is None else _tensor("out", out, True)
        self._core.execute(tensor, result)
        return _like(x, result) if out is None else out

    @property
    def problem(self) -> str:
        """What is computed: 1x3x600x800,k64,3x3,s1,p1,d1,g1,f32,nchw"""
        return self._core.problem

    @property
    def device(self) -> str:
        """cpu, cuda, metal or emulator."""
        return self._core.device

    @property
    def kernel(self) -> str:
        """The kernel that the planner chose."""
        return self._core.kernel

    @property
    def detail(self) -> str:
        """What runs, in the kernel's own words."""
        return self._core.detail

    @property
    def output_shape(self) -> Tuple[int, ...]:
        """N, K, P, Q, or N, P, Q, K with layout="nhwc"."""
        return self._core.output_shape

    @property
    def workspace_bytes(self) -> int:
        """Scratch of one execution."""
        return self._core.workspace_bytes

    @property
    def packed_bytes(self) -> int:
        """Size of the packed weights."""
        return self._core.packed_bytes

    def explain(self) -> str:
        """Every kernel of the device, a line each: its estimate, or why it does not apply."""
        return self._core.explain()

    def __repr__(self) -> str:
        return f"<metalconv.Plan {self.problem} on {self.device}: {self.kernel}>"


class _Shelf:
    """Plans of conv2d's last calls. One that is taken down is its taker's alone."""

    _PLANS, _BYTES = 16, 2**26  # of memory that one may keep

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: collections.OrderedDict[str, Plan] = collections.OrderedDict()

    def take(self, key: str) -> Optional[Plan]:
        with self._lock:
            return self._plans.pop(key, None)

    def put(self, key: str, plan: Plan) -> None:
        plan._core.unpack()
        if plan.packed_bytes + plan.workspace_bytes > self._BYTES:
            return
        with self._lock:
            self._plans[key] = plan
            if len(self._plans) > self._PLANS:
                self._plans.popitem(last=False)


_shelf = _Shelf()


def conv2d(x: Any, w: Any, bias: Any = None, stride: Pair = 1, padding: Union[str, Pair] = 0,
           dilation: Pair = 1, groups: int = 1, activation: Optional[str] = None,
           device: str = "auto", layout: str = "nchw", out: Any = None) -> Any:
    """act(conv(x, w) + bias), the arguments as in torch.nn.functional.conv2d.

    x: N, C, H, W (N, H, W, C with layout="nhwc"), or without N. w: K, C/groups, R, S. bias: K.
    device "auto" is where x lies: the cpu for host memory, cuda for a CUDA tensor, on whose own
    pointer it runs. A host array on device "cuda" or "metal" is copied there and the result back.
    Returns an array of the kind of x, or `out`. Plan has the rest and is quicker for many.
    """
    tensor, weights = _tensor("x", x), _tensor("w", w)
    if isinstance(device, str) and device == "auto":
        device = f"cuda:{tensor.ordinal}" if tensor.device == "cuda" else "cpu"
    options = dict(bias=bias is not None, stride=stride, padding=padding, dilation=dilation,
                   groups=groups, activation=activation, dtype=tensor.dtype, layout=layout,
                   device=device)
    key = repr((tensor.shape, weights.shape, tuple(options.values())))
    plan = _shelf.take(key) or Plan(tensor.shape, weights.shape, **options)
    result = plan.pack(w, bias)(x, out)
    if f"{device}:".startswith(f"{tensor.device}:"):  # else it has copies of the tensors
        _shelf.put(key, plan)
    return result


def bench(targets: Union[str, Sequence[str]] = "baseline", *, device: str = "auto",
          implementations: Sequence[str] = (), every_kernel: bool = False, time: bool = True,
          cold: bool = False, budget: float = 6.0) -> List[Dict[str, Any]]:
    """Verify the kernels on workloads ("baseline", "resnet50" ...) or problem texts, and time those
    that are right: `budget` seconds a problem. One dict a row, for pandas.DataFrame: the keys of
    docs/json-schema.md's results, with time_us (median) and its 95 % interval time_us_low and
    time_us_high. No time where the verdict is not ok."""
    names = [targets] if isinstance(targets, str) else list(targets)
    if not all(isinstance(n, str) for n in (*names, device, *implementations)):
        raise Error("targets, device and implementations must be strings")
    result = json.loads(_core.bench(names, device, list(implementations), every_kernel, time, cold,
                                    float(budget)))
    rows = []
    for row in result["results"]:
        interval = row.pop("time_us") or {}
        row.update(time_us=interval.get("median"), time_us_low=interval.get("low"),
                   time_us_high=interval.get("high"))
        row["error"] = row.pop("verification")["worst_ratio"]
        row.pop("speedup_vs_vendor_interval", None)
        rows.append(row)
    return rows
