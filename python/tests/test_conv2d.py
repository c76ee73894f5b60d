# SPDX-License-Identifier: Apache-2.0
"""Results against ONNX Runtime and a float64 reference, and how arrays are taken and given."""
import gc
import threading
import weakref

import numpy as np
import pytest

import metalconv
from dlpack_object import BFLOAT, CUDA, METAL, Foreign
from metalconv import _core


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def reference(x, w, bias=None, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """The definition in float64; and the sum of |products|, which the error is judged by."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (n, c, h, width), (k, cg, r, s) = x.shape, w.shape
    p = (h - dilation[0] * (r - 1) - 1) // stride[0] + 1
    q = (width - dilation[1] * (s - 1) - 1) // stride[1] + 1
    y, scale = np.zeros((n, k, p, q)), np.zeros((n, k, p, q))
    for o in range(k):
        first = o // (k // groups) * cg
        for i in range(r):
            for j in range(s):
                rows = slice(i * dilation[0], i * dilation[0] + (p - 1) * stride[0] + 1, stride[0])
                columns = slice(j * dilation[1], j * dilation[1] + (q - 1) * stride[1] + 1, stride[1])
                taps = x[:, first:first + cg, rows, columns]
                y[:, o] += np.einsum("nchw,c->nhw", taps, w[o, :, i, j])
                scale[:, o] += np.einsum("nchw,c->nhw", abs(taps), abs(w[o, :, i, j]))
    if bias is not None:
        y += bias.astype(np.float64)[:, None, None]
        scale += abs(bias.astype(np.float64))[:, None, None]
    return y, scale


def assert_close(y, expected, scale, unit=2.0**-24, factor=100):
    """100 units of rounding: Winograd F(4x4), whose row is allowed 96, is among the kernels."""
    assert y.shape == expected.shape
    error = abs(y.astype(np.float64) - expected)
    assert (error <= factor * unit * scale + unit * abs(expected)).all()  # false for NaN


CASES = [  # x, w, stride, pads (top, left, bottom, right), dilation, groups
    ((1, 3, 17, 19), (8, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((2, 16, 14, 15), (24, 16, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((2, 4, 13, 11), (6, 2, 5, 3), (2, 1), (2, 0, 1, 3), (1, 2), 2),
    ((1, 8, 12, 12), (8, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 8),
    ((3, 16, 9, 9), (32, 16, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    ((1, 20, 10, 10), (20, 20, 3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_agrees_with_onnx_runtime_and_the_definition(case, layout):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    x_shape, w_shape, stride, pads, dilation, groups = case
    x, w, bias = normal(*x_shape), normal(*w_shape, seed=1), normal(w_shape[0], seed=2)
    given = x if layout == "nchw" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    y = metalconv.conv2d(given, w, bias, stride, pads, dilation, groups, layout=layout)
    y = y if layout == "nchw" else y.transpose(0, 3, 1, 2)
    expected, scale = reference(x, w, bias, stride, pads, dilation, groups)
    assert_close(y, expected, scale)

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=stride, pads=pads,
                            dilations=dilation, group=groups)
    values = [helper.make_tensor_value_info(n, kind, None) for n in ("x", "w", "b", "y")]
    model = helper.make_model(helper.make_graph([node], "conv", values[:3], values[3:]),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs, = session.run(None, {"x": x, "w": w, "b": bias})
    assert_close(y, theirs.astype(np.float64), scale, factor=200)


@pytest.mark.parametrize("kernel", [(3, 3), (4, 2), (5, 1)])
@pytest.mark.parametrize("dilation", [1, 3])
def test_padding_words(kernel, dilation):
    x, w = normal(1, 2, 15, 16), normal(3, 2, *kernel, seed=1)
    same = metalconv.conv2d(x, w, padding="same", dilation=dilation)
    assert same.shape == (1, 3, 15, 16)
    total = [dilation * (k - 1) for k in kernel]
    pads = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
    assert_close(same, *reference(x, w, pads=pads, dilation=(dilation, dilation)))
    valid = metalconv.conv2d(x, w, padding="valid", dilation=dilation)
    assert np.array_equal(valid, metalconv.conv2d(x, w, dilation=(dilation, dilation)))


def test_activations():
    x, w = normal(1, 3, 12, 12), normal(4, 3, 3, 3, seed=1)
    expected, scale = reference(x, w)
    for activation, high in (("relu", np.inf), ("relu6", 6)):
        y = metalconv.conv2d(x, w, activation=activation)
        assert_close(y, np.clip(expected, 0, high), scale)
    try:
        y = metalconv.conv2d(x, w, activation="silu", device="emulator")
    except ValueError as error:  # no compiler for its kernels
        pytest.skip(str(error))
    assert_close(y, expected / (1 + np.exp(-expected)), scale)


def test_halves():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype, unit in ((np.float16, 2.0**-11), (ml_dtypes.bfloat16, 2.0**-8)):
        x, w = normal(1, 8, 10, 10, dtype=dtype), normal(8, 8, 3, 3, seed=1, dtype=dtype)
        y = metalconv.conv2d(x, w, padding=1)
        assert y.dtype == x.dtype
        expected, scale = reference(x, w, pads=(1, 1, 1, 1))
        error = abs(y.astype(np.float64) - expected)
        assert (error <= unit * abs(expected) + 2.0**-14 * scale).all()
        out = np.full_like(y, 7)
        assert metalconv.conv2d(x, w, padding=1, out=out) is out
        assert np.array_equal(out, y)


def test_without_a_batch_and_with_an_empty_one():
    x, w = normal(3, 9, 9), normal(4, 3, 3, 3, seed=1)
    y = metalconv.conv2d(x, w)
    assert y.shape == (4, 7, 7)
    assert np.array_equal(y, metalconv.conv2d(x[None], w)[0])
    assert metalconv.conv2d(normal(0, 3, 9, 9), w).shape == (0, 4, 7, 7)


# -- memory --


def address(array):
    return _core.Tensor.read("x", array, False).address


def test_arrays_are_read_and_written_where_they_lie():
    x, w, y = normal(1, 3, 8, 8), normal(4, 3, 3, 3, seed=1), np.empty((1, 4, 6, 6), np.float32)
    x.flags.writeable = False
    assert address(x) == x.ctypes.data
    assert metalconv.conv2d(x, w, out=y) is y
    assert np.array_equal(y, metalconv.conv2d(x, w))
    plan = metalconv.Plan(x.shape, w.shape, device="cpu").pack(w)
    w[:] = 0  # packed before: not seen
    assert np.array_equal(plan(x), y)


def test_a_bias_is_read_at_each_execution_and_kept_alive():
    plan = metalconv.Plan((1, 1, 2, 2), (1, 1, 1, 1), bias=True, device="cpu")
    bias = np.array([1], np.float32)
    plan.pack(np.zeros((1, 1, 1, 1), np.float32), bias)
    x, alive = np.zeros((1, 1, 2, 2), np.float32), weakref.ref(bias)
    assert plan(x)[0, 0, 0, 0] == 1
    bias[0] = 5
    del bias
    gc.collect()
    assert alive() is not None and plan(x)[0, 0, 0, 0] == 5
    del plan
    gc.collect()
    assert alive() is None


def test_conv2d_keeps_plans_but_neither_weights_nor_arrays():
    x, first = normal(1, 3, 11, 13), normal(5, 3, 3, 3, seed=1)
    y = metalconv.conv2d(x, first, np.ones(5, np.float32))
    second, bias = normal(5, 3, 3, 3, seed=2), np.zeros(5, np.float32)
    alive = weakref.ref(bias)
    other = metalconv.conv2d(x, second, bias)
    assert_close(y, *reference(x, first, np.ones(5)))
    assert_close(other, *reference(x, second, bias))
    del bias
    gc.collect()
    assert alive() is None
    with pytest.raises(metalconv.Error, match="w has"):  # leaves nothing half done
        metalconv.conv2d(x, first[:, :, ::-1], np.ones(5, np.float32))
    assert np.array_equal(metalconv.conv2d(x, first, np.ones(5, np.float32)), y)
    for size in range(3, 40):  # more than are kept
        assert metalconv.conv2d(normal(1, 3, size, 13), first).shape == (1, 5, size - 2, 11)


def test_threads_call_conv2d_with_weights_of_their_own():
    x = normal(1, 4, 30, 30)
    weights = [normal(6, 4, 3, 3, seed=i) for i in range(8)]
    expected = [metalconv.conv2d(x, w) for w in weights]
    wrong = []

    def work(i):
        for _ in range(30):
            if not np.array_equal(metalconv.conv2d(x, weights[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(weights))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_outlive_everything_else():
    y = metalconv.conv2d(np.ones((1, 3, 500, 500), np.float32), np.ones((8, 3, 3, 3), np.float32))
    base = y.reshape(-1)[-10:]
    del y
    gc.collect()
    np.ones((1, 8, 500, 500), np.float32)
    assert (base == 27).all() and base.flags.writeable


def test_jax_arrays_give_jax_arrays():
    jax = pytest.importorskip("jax")
    x, w = normal(1, 3, 16, 16), normal(4, 3, 3, 3, seed=1)
    expected, scale = reference(x, w)
    for dtype in (jax.numpy.float32, jax.numpy.bfloat16):
        jx, jw = jax.numpy.asarray(x, dtype), jax.numpy.asarray(w, dtype)
        assert address(jx) == jx.unsafe_buffer_pointer()
        y = metalconv.conv2d(jx, jw)
        assert isinstance(y, jax.Array) and y.dtype == dtype
        exact = dtype == jax.numpy.float32
        assert_close(np.asarray(y, np.float32), expected, scale, unit=2.0**-24 if exact else 2.0**-7,
                     factor=16 if exact else 2)
        with pytest.raises(metalconv.Error, match="out is a jax.*which cannot be written"):
            metalconv.conv2d(jx, jw, out=y)  # JAX's arrays never change


def test_torch_tensors_give_torch_tensors():
    torch = pytest.importorskip("torch")
    x, w = torch.randn(1, 3, 16, 16), torch.randn(4, 3, 3, 3)
    assert address(x) == x.data_ptr()
    for dtype in (torch.float32, torch.bfloat16):
        y = metalconv.conv2d(x.to(dtype), w.to(dtype), padding=1)
        assert isinstance(y, torch.Tensor) and y.dtype == dtype
    with pytest.raises(metalconv.Error, match="refuses DLPack.*grad"):
        metalconv.conv2d(x.requires_grad_(), w)


def test_a_dlpack_producer_of_ones_own():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, w = normal(1, 3, 8, 8), normal(4, 3, 3, 3, seed=1)
    assert address(Foreign(x)) == x.ctypes.data
    assert address(Foreign(x, byte_offset=12)) == x.ctypes.data + 12
    y = np.from_dlpack(metalconv.conv2d(Foreign(x), Foreign(w)))
    assert np.array_equal(y, metalconv.conv2d(x, w))
    halves = [a.astype(ml_dtypes.bfloat16) for a in (x, w)]
    out = np.zeros((1, 4, 6, 6), ml_dtypes.bfloat16)
    metalconv.conv2d(*(Foreign(h.view(np.uint16), BFLOAT) for h in halves), out=out)
    assert np.array_equal(out, metalconv.conv2d(*halves))


def test_cuda_tensors_go_to_cuda_with_their_own_pointer():
    """No GPU is needed to see where a tensor would go, and that nothing touches its memory."""
    x, w = normal(1, 3, 8, 8), normal(4, 3, 3, 3, seed=1)
    seen = _core.Tensor.read("x", Foreign(x, device=CUDA, ordinal=93), False)
    assert (seen.address, seen.device, seen.ordinal) == (x.ctypes.data, "cuda", 93)
    with pytest.raises(metalconv.Error, match="CUDA|cuda|NVIDIA"):
        metalconv.conv2d(Foreign(x, device=CUDA, ordinal=93), Foreign(w, device=CUDA, ordinal=93))
    with pytest.raises(metalconv.Error, match=r"x is on cuda:93, but the plan is on cpu"):
        metalconv.conv2d(Foreign(x, device=CUDA, ordinal=93), w, device="cpu")
    with pytest.raises(metalconv.Error, match=r"x is on DLPack's device type 8.*numpy.asarray\(x\)"):
        metalconv.conv2d(Foreign(x, device=METAL), w)


# -- refusals --

X, W = np.zeros((1, 4, 8, 8), np.float32), np.zeros((6, 4, 3, 3), np.float32)


@pytest.mark.parametrize("changes, words", [
    (dict(x=X[:, :, ::2]), r"x has shape \(1, 4, 4, 8\) with strides .*numpy.ascontiguousarray\(x\)"),
    (dict(x=X.transpose(0, 2, 3, 1)), "x has shape .* must be contiguous"),
    (dict(w=W[:, :, ::-1]), "w has shape .* must be contiguous"),
    (dict(x=X.astype(np.float64)), "x has elements of type float64, but must be float32, float16"),
    (dict(x=X.view(np.uint16)), "x has elements of type uint16"),
    (dict(x=X.astype(np.complex64)), "x has elements of type complex64"),
    (dict(x=X.tolist()), "x is a builtins.list, which is neither a NumPy array nor speaks DLPack"),
    (dict(x=None), "x is a builtins.NoneType"),
    (dict(x="abc"), "x is a builtins.str"),
    (dict(x=X[0, 0]), "x must have 4 dimensions"),
    (dict(w=W[0]), "w must have 4"),
    (dict(w=W.astype(np.float16)), "w has dtype f16, but the plan needs f32"),
    (dict(w=W[:, :3].copy()), "w has 3 channels a group and groups is 1, but x has 4 channels"),
    (dict(bias=np.zeros(5, np.float32)), "bias has 5 elements of f32, but the plan needs 6 of f32"),
    (dict(bias=np.zeros((6, 1), np.float32)), "bias has"),
    (dict(groups=3), "groups is 3"),
    (dict(groups=0), "groups is 0"),
    (dict(groups=-4), "groups is -4"),
    (dict(stride=0), "stride"),
    (dict(stride=(1, 2, 3)), "stride has 3 numbers, but must be an integer or 2 of them"),
    (dict(stride=1.5), "stride is 1.5, but must be an integer"),
    (dict(stride=10**30), "stride is 10+, but must be within"),
    (dict(dilation=-1), "dilation"),
    (dict(dilation=2**61), "dilation|kernel height"),
    (dict(padding=-1), "pad"),
    (dict(padding=2**61), "64 bits"),
    (dict(padding="full"), "padding is 'full', but must be 'same'"),
    (dict(padding="same", stride=2), r"padding is 'same' with stride \(2, 2\)"),
    (dict(padding=(1, 2, 3)), "padding has 3 numbers"),
    (dict(activation="gelu"), "gelu"),
    (dict(activation="silu", device="cpu"), "activation is silu, the kernel does none"),
    (dict(activation=3), "activation is 3"),
    (dict(layout="chwn"), "layout is 'chwn'"),
    (dict(device="tpu"), "device is 'tpu'"),
    (dict(device="cpu:1"), "only cuda takes a number"),
    (dict(device=7), "device is 7"),
    (dict(out=np.zeros((1, 6, 5, 6), np.float32)), "y has sizes|out has sizes"),
    (dict(out=np.zeros((1, 6, 6, 6), np.float16)), "dtype f16"),
    (dict(out=np.zeros((1, 6, 6, 12), np.float32)[..., ::2]), "out has shape .* must be contiguous"),
    (dict(out=np.frombuffer(bytes(4 * 216), np.float32).reshape(1, 6, 6, 6)), "out is a .*cannot be written"),
    (dict(out=[1]), "out is a builtins.list"),
    (dict(w=np.zeros((6, 4, 9, 3), np.float32)), "kernel height R = 9"),
], ids=lambda v: "-".join(v) if isinstance(v, dict) else "")
def test_bad_arguments_are_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        metalconv.conv2d(**{**dict(x=X, w=W), **changes})
    assert isinstance(caught.value, metalconv.Error)


def test_an_output_may_not_overlap_the_input():
    memory = np.zeros(1000, np.float32)
    x, out = memory[:256].reshape(1, 4, 8, 8), memory[100:316].reshape(1, 6, 6, 6)
    with pytest.raises(ValueError, match="y overlaps x"):
        metalconv.conv2d(x, W, out=out)
    assert not memory.any()
