# SPDX-License-Identifier: Apache-2.0
"""Plans, threads, the benchmark and what the package has in it."""
import pathlib
import threading
import time

import numpy as np
import pytest

import metalconv


def test_a_plan_says_what_it_does():
    plan = metalconv.Plan((1, 3, 60, 80), (8, 3, 3, 3), padding=1, bias=True, activation="relu",
                          device="cpu")
    assert plan.problem == "1x3x60x80,k8,3x3,s1,p1,d1,g1,f32,nchw,bias,relu"
    assert (plan.device, plan.output_shape) == ("cpu", (1, 8, 60, 80))
    assert plan.workspace_bytes >= 0 and plan.packed_bytes >= 8 * 27 * 4
    chosen = [line for line in plan.explain().splitlines() if line.startswith("*")]
    assert len(chosen) == 1 and plan.kernel in chosen[0] and plan.detail in chosen[0]
    assert "conv1x1: " in plan.explain()
    assert plan.kernel in repr(plan)


def test_named_kernels_and_other_devices():
    x, w = np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    basic = metalconv.Plan(x.shape, w.shape, implementation="basic", device="cpu").pack(w)
    assert basic.kernel == "basic" and (basic(x) == 27).all()
    direct = metalconv.Plan(x.shape, w.shape, kernel="direct", device="cpu").pack(w)
    assert direct.kernel == "direct" and (direct(x) == 27).all()
    with pytest.raises(ValueError, match="there is no kernel 'none-such'"):
        metalconv.Plan(x.shape, w.shape, kernel="none-such", device="cpu")
    with pytest.raises(ValueError, match="conv1x1"):
        metalconv.Plan(x.shape, w.shape, kernel="conv1x1", device="cpu")
    present = {d["name"] for d in metalconv.devices() if not d["absence"]}
    assert "cpu" in present
    if "emulator" in present:
        try:
            y = metalconv.conv2d(x, w, device="emulator")
        except ValueError as error:  # no compiler for its kernels
            pytest.skip(str(error))
        assert (y == 27).all()


def test_a_plan_without_weights_is_refused():
    plan = metalconv.Plan((1, 1, 4, 4), (1, 1, 1, 1), device="cpu")
    with pytest.raises(ValueError, match=r"call pack\(w\) first"):
        plan(np.zeros((1, 1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="bias is given, but the plan was made without"):
        plan.pack(np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="x has sizes 1x1x4x5"):
        plan.pack(np.zeros((1, 1, 1, 1), np.float32))(np.zeros((1, 1, 4, 5), np.float32))


def test_other_threads_run_while_it_computes():
    """A thread that takes the time again and again is never held up for half of an execution."""
    w = np.ones((32, 32, 5, 5), np.float32)
    for batch in (1, 4, 16, 64):  # until it takes long enough to see anything
        x = np.ones((batch, 32, 256, 256), np.float32)
        plan = metalconv.Plan(x.shape, w.shape, implementation="basic", device="cpu").pack(w)
        out, span, stamps = plan(x), [], []

        def compute():
            start = time.perf_counter()
            plan(x, out)
            span.extend((start, time.perf_counter()))

        thread = threading.Thread(target=compute)
        thread.start()
        while thread.is_alive():
            stamps.append(time.perf_counter())
            time.sleep(0.001)
        thread.join()
        start, end = span
        if end - start > 0.1:
            break
    inside = [start] + [s for s in stamps if start < s < end] + [end]
    assert max(b - a for a, b in zip(inside, inside[1:])) < 0.5 * (end - start)


def test_threads_share_a_plan():
    w = np.random.default_rng(1).standard_normal((8, 16, 3, 3)).astype(np.float32)
    plan = metalconv.Plan((1, 16, 40, 40), w.shape, padding=1, device="cpu").pack(w)
    images = np.random.default_rng(2).standard_normal((16, 1, 16, 40, 40)).astype(np.float32)
    expected = [plan(x) for x in images]
    wrong = []

    def work(index):
        out = np.empty_like(expected[index])
        for _ in range(5):
            out[:] = np.nan
            if not np.array_equal(plan(images[index], out), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bench_gives_rows():
    rows = metalconv.bench("1x3x32x32,k8,3x3,p1", device="cpu", budget=0.2,
                           implementations=["basic", "optimized"])
    assert [r["implementation"] for r in rows] == ["basic", "optimized"]
    for row in rows:
        assert row["verdict"] == "ok" and row["error"] <= 1
        assert 0 < row["time_us_low"] <= row["time_us"] <= row["time_us_high"]
    checked = metalconv.bench(["1x3x32x32,k8,3x3,p1"], device="cpu", time=False, every_kernel=True)
    assert len(checked) > 2 and all(r["time_us"] is None for r in checked)
    assert all(r["verdict"] in ("ok", "skipped") for r in checked)
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(rows)
    assert len(table) == 2 and (table.time_us > 0).all()


@pytest.mark.parametrize("arguments, words", [
    (dict(targets="none-such"), "none-such"), (dict(targets=[3]), "must be strings"),
    (dict(budget=0), "budget"), (dict(budget=float("nan")), "budget"),
    (dict(implementations=["fast"]), "fast"), (dict(device="tpu"), "tpu")])
def test_bench_refuses_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        metalconv.bench(**{**dict(targets="1x3x8x8,k1,1x1", device="cpu"), **arguments})


def test_the_package_is_typed():
    folder = pathlib.Path(metalconv.__file__).parent
    assert (folder / "py.typed").exists()
    stub = (folder / "_core.pyi").read_text()
    assert "class Plan" in stub and "def bench" in stub
    assert metalconv.__version__.count(".") == 2
    assert issubclass(metalconv.Error, ValueError)
