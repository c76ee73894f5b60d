# SPDX-License-Identifier: Apache-2.0
"""CUDA tensors of PyTorch, JAX and CuPy, where there is a GPU: read and written where they lie, in
order with what their libraries have still to do, and right beside PyTorch's conv2d in float64."""
import threading

import numpy as np
import pytest

import metalconv
from metalconv import _core

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("PyTorch sees no CUDA device", allow_module_level=True)
functional = torch.nn.functional
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
ACTIVATIONS = {None: lambda y: y, "relu": functional.relu, "relu6": functional.relu6,
               "silu": functional.silu}


def seen(array):
    return _core.Tensor.read("x", array, False)


def normal(*shape, seed=0, dtype=F32, device="cuda"):
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(device, dtype)


def assert_close(y, x, w, bias=None, activation=None, factor=8, **options):
    """Within `factor` units of f32 of the sum of |products|, and one rounding of y's type."""
    exact = ACTIVATIONS[activation](functional.conv2d(
        x.double(), w.double(), None if bias is None else bias.double(), **options))
    scale = functional.conv2d(x.double().abs(), w.double().abs(),
                              None if bias is None else bias.double().abs(), **options)
    assert y.shape == exact.shape and y.dtype == x.dtype and y.device == x.device
    unit = {F32: 2.0**-24, F16: 2.0**-11, BF16: 2.0**-8}[x.dtype]
    smallest = 2.0**-24 if x.dtype == F16 else 0  # halves below 2^-14 are evenly spaced
    # 1.1: the slope of silu at most; of the others it is 1.
    bound = 1.1 * factor * 2.0**-24 * scale + unit * exact.abs() + smallest
    assert bool(((y.double() - exact).abs() <= bound).all())  # false for NaN


CASES = [  # x, w, what conv2d is told
    ((1, 3, 67, 131), (64, 3, 3, 3), dict(padding=1)),
    ((2, 64, 28, 28), (96, 64, 3, 3), dict(padding=1)),
    ((4, 64, 14, 14), (256, 64, 1, 1), dict()),
    ((2, 24, 33, 17), (24, 1, 3, 3), dict(padding=1, groups=24)),
    ((2, 24, 33, 17), (48, 1, 5, 5), dict(padding=2, stride=2, groups=24)),
    ((3, 16, 20, 21), (40, 4, 3, 5), dict(padding=(2, 1), stride=(2, 1), dilation=(1, 2), groups=4)),
    ((1, 3, 224, 224), (64, 3, 7, 7), dict(padding=3, stride=2)),
    ((1, 130, 9, 9), (70, 130, 3, 3), dict(padding="same", dilation=2)),
    ((1, 512, 7, 7), (512, 512, 3, 3), dict(padding=1)),
]


@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_agrees_with_torch(case, dtype, layout):
    x_shape, w_shape, options = case
    x, w = normal(*x_shape, dtype=dtype), normal(*w_shape, seed=1, dtype=dtype)
    bias = normal(w_shape[0], seed=2, dtype=dtype)
    given = x if layout == "nchw" else x.permute(0, 2, 3, 1).contiguous()
    y = metalconv.conv2d(given, w, bias, activation="relu", layout=layout, **options)
    assert isinstance(y, torch.Tensor) and y.is_cuda and y.is_contiguous()
    # 100: the kernels that go by Winograd's ways are allowed more than a direct sum.
    assert_close(y if layout == "nchw" else y.permute(0, 3, 1, 2), x, w, bias, "relu", factor=100,
                 **options)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_activations(activation, with_bias):
    x, w = normal(2, 8, 15, 15), normal(20, 8, 3, 3, seed=1)
    bias = normal(20, seed=2) if with_bias else None
    y = metalconv.conv2d(x, w, bias, padding=1, activation=activation)
    assert_close(y, x, w, bias, activation, factor=100, padding=1)


# -- memory --

def test_tensors_are_read_and_written_where_they_lie():
    x, w = normal(1, 8, 16, 16), normal(8, 8, 3, 3, seed=1)
    assert (seen(x).address, seen(x).device, seen(x).ordinal) == (x.data_ptr(), "cuda", x.device.index)
    part = x[:, 2:6]  # contiguous, and begins inside
    assert seen(part).address == part.data_ptr() == x.data_ptr() + 2 * 256 * 4
    out = torch.full((1, 8, 14, 14), torch.nan, device="cuda")
    place = out.data_ptr()
    before, others = x.clone(), torch.cuda.memory_allocated()
    assert metalconv.conv2d(x, w, out=out) is out and out.data_ptr() == place
    assert torch.cuda.memory_allocated() == others  # PyTorch was asked for nothing
    assert_close(out, x, w)
    assert torch.equal(x, before)
    plan = metalconv.Plan(x.shape, w.shape, device="cuda").pack(w)
    w.zero_()  # packed before: not seen
    assert torch.equal(plan(x), out)


def test_a_bias_is_read_at_each_execution():
    plan = metalconv.Plan((1, 1, 2, 2), (1, 1, 1, 1), bias=True, device="cuda")
    bias, x = torch.ones(1, device="cuda"), torch.zeros(1, 1, 2, 2, device="cuda")
    plan.pack(torch.zeros(1, 1, 1, 1, device="cuda"), bias)
    assert bool((plan(x) == 1).all())
    bias.fill_(5)
    assert bool((plan(x) == 5).all())


def test_results_outlive_the_plan_and_return_their_memory():
    x, w = normal(1, 8, 512, 512), normal(64, 8, 3, 3, seed=1)
    expected = metalconv.conv2d(x, w, padding=1)
    torch.cuda.synchronize()
    free = torch.cuda.mem_get_info()[0]
    for _ in range(20):  # 64 MiB each
        y = metalconv.conv2d(x, w, padding=1)
    assert torch.equal(y, expected)
    del y
    assert torch.cuda.mem_get_info()[0] >= free - 3 * 2**26  # PyTorch keeps what it had at most


# -- order --

@pytest.mark.parametrize("of_ones_own", [False, True])
def test_it_waits_for_the_current_stream_and_is_done_when_it_returns(of_ones_own):
    """x is written by work that has not begun when conv2d is called, and y is read by another
    stream at once. Streams of PyTorch's own do not wait for the default stream by themselves."""
    w = torch.ones(1, 1, 1, 1, device="cuda")
    plan = metalconv.Plan((1, 1, 1024, 1024), w.shape, device="cuda").pack(w)
    stream = torch.cuda.Stream() if of_ones_own else torch.cuda.default_stream()
    x, out = torch.zeros(1, 1, 1024, 1024, device="cuda"), torch.zeros(1, 1, 1024, 1024, device="cuda")
    torch.cuda.synchronize()
    for value in range(1, 6):
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)  # cycles, about 10 ms
            x.fill_(value)
            if value % 2:
                out.fill_(-1)  # before y is written, not after
                y = plan(x, out)
            else:
                y = metalconv.conv2d(x, w)
        with torch.cuda.stream(torch.cuda.Stream()):
            assert bool((y == value).all())


def test_threads_with_streams_of_their_own_share_a_plan():
    w = normal(32, 32, 3, 3, seed=1)
    plan = metalconv.Plan((2, 32, 56, 56), w.shape, padding=1, device="cuda").pack(w)
    images = [normal(2, 32, 56, 56, seed=10 + i) for i in range(8)]
    expected = [plan(x) for x in images]
    wrong = []

    def work(i):
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(10):
                x = images[i] * 1.0
                if not torch.equal(plan(x), expected[i]):
                    wrong.append(i)

    torch.cuda.synchronize()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- which device --

def test_auto_is_where_x_lies():
    x, w = normal(1, 3, 20, 20), normal(8, 3, 3, 3, seed=1)
    on_cuda = metalconv.conv2d(x, w)
    assert on_cuda.is_cuda
    on_cpu = metalconv.conv2d(x.cpu(), w.cpu())
    assert on_cpu.device.type == "cpu"
    assert_close(on_cuda, x, w)
    assert_close(on_cpu, x.cpu(), w.cpu())
    # A plan has no x yet: the best device here. Arrays of the host are copied there and back.
    plan = metalconv.Plan(x.shape, w.shape)
    assert plan.device == "cuda"
    host = plan.pack(w.cpu().numpy())(x.cpu().numpy())
    assert isinstance(host, np.ndarray)
    assert torch.equal(torch.from_numpy(host), on_cuda.cpu())
    assert torch.equal(metalconv.conv2d(x.cpu(), w.cpu(), device="cuda"), on_cuda.cpu())
    mixed = metalconv.conv2d(x, w.cpu())  # weights from the host, an image on the GPU
    assert mixed.is_cuda and torch.equal(mixed, on_cuda)


def test_bench_finds_the_gpu():
    rows = metalconv.bench("1x3x64x64,k32,3x3,p1", device="cuda", budget=0.5,
                           implementations=["basic", "optimized"])
    assert [r["verdict"] for r in rows] == ["ok", "ok"]
    assert all(0 < r["time_us_low"] <= r["time_us"] for r in rows)


# -- other libraries --

def test_jax_arrays_on_the_gpu():
    jax = pytest.importorskip("jax")
    try:
        gpu = jax.devices("cuda")[0]
    except RuntimeError as error:
        pytest.skip(str(error))
    x, w = normal(1, 8, 16, 16), normal(12, 8, 3, 3, seed=1)
    jx, jw = (jax.device_put(a.cpu().numpy(), gpu) for a in (x, w))
    assert seen(jx).address == jx.unsafe_buffer_pointer() and seen(jx).device == "cuda"
    y = metalconv.conv2d(jx, jw, padding=1)
    assert isinstance(y, jax.Array) and y.devices() == {gpu}
    assert_close(torch.from_numpy(np.array(y)).cuda(), x, w, padding=1, factor=100)
    with pytest.raises(metalconv.Error, match="cannot be written"):
        metalconv.conv2d(jx, jw, out=y[:, :, 1:15, 1:15])  # JAX's arrays never change


def test_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    x, w = normal(1, 8, 16, 16), normal(12, 8, 3, 3, seed=1)
    cx, cw = (cupy.asarray(a.cpu().numpy()) for a in (x, w))
    assert seen(cx).address == cx.data.ptr
    with cupy.cuda.Stream(non_blocking=True):
        y = metalconv.conv2d(cx * 1, cw, padding=1)
        assert isinstance(y, cupy.ndarray)
    out = cupy.empty((1, 12, 16, 16), cupy.float32)
    assert metalconv.conv2d(cx, cw, padding=1, out=out) is out
    assert bool((out == y).all())
    assert_close(torch.from_numpy(cupy.asnumpy(y)).cuda(), x, w, padding=1, factor=100)


# -- refusals --

@pytest.mark.parametrize("change, words", [
    (lambda x, w: dict(x=x[:, :, ::2]), r"x has shape .* must be contiguous: .*x.contiguous\(\)"),
    (lambda x, w: dict(x=x.to(memory_format=torch.channels_last)), "x has shape .* must be contiguous"),
    (lambda x, w: dict(x=x.double()), "x has elements of type float64"),
    (lambda x, w: dict(x=x.clone().requires_grad_()), "x is a torch.Tensor, which refuses DLPack.*grad"),
    (lambda x, w: dict(w=w.half()), "w has dtype f16, but the plan needs f32"),
    (lambda x, w: dict(device="cpu"), "[xw] is on cuda:0, but the plan is on cpu"),
    (lambda x, w: dict(x=x.cpu(), device="cpu"), "w is on cuda:0, but the plan is on cpu"),
    (lambda x, w: dict(device="cuda:77"), "77"),
    (lambda x, w: dict(out=x), "x|y|out"),
    (lambda x, w: dict(out=torch.empty(1, 6, 6, 6)[..., ::1].double()), "out has elements of type"),
    (lambda x, w: dict(x=torch.empty(1, 4, 8, 8, device="meta")), "x is a torch.Tensor, which refuses DLPack"),
    (lambda x, w: dict(x=x.to_sparse()), "x is a torch.Tensor, which"),
])
def test_bad_arguments_are_refused_in_words(change, words):
    x, w = normal(1, 4, 8, 8), normal(6, 4, 3, 3, seed=1)
    with pytest.raises(metalconv.Error, match=words):
        metalconv.conv2d(**{**dict(x=x, w=w), **change(x, w)})
    torch.cuda.synchronize()  # and nothing is broken
    assert_close(metalconv.conv2d(x, w), x, w)


def test_memory_that_cannot_be_had_is_an_error_and_no_end():
    w = torch.ones(4096, 1, 1, 1, device="cuda")
    x = torch.ones(1, 1, 4096, 4096, device="cuda")
    with pytest.raises(torch.OutOfMemoryError):  # 256 GiB, asked of PyTorch
        metalconv.conv2d(x, w)
    assert bool((metalconv.conv2d(x[:, :, :8, :8].contiguous(), w) == 1).all())
