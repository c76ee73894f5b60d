# SPDX-License-Identifier: Apache-2.0
"""The peers. Each function prepares one convolution in a library, its weights constant so that the
library may pack them, and returns how to execute it and how to see its output. The data outlives
what is prepared.

What a library cannot do it refuses in a sentence. Modules are imported inside the functions: a
worker process holds only its own library, and a missing one hurts nobody else."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
import struct
import tempfile

import numpy as np

from problems import Data, Problem, empty_output


class Refused(Exception):
    """The library cannot do this problem, and why."""


@dataclass(frozen=True)
class Prepared:
    run: Callable[[], object]  # one execution; y is complete when it returns
    output: Callable[[], np.ndarray]  # y of the last execution, in the problem's layout
    detail: str


Prepare = Callable[[Problem, Data, int], Prepared]


@dataclass(frozen=True)
class Library:
    name: str
    package: str  # on the Python package index, and in requirements.txt
    prepare: Prepare

    def version(self) -> str | None:
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None


def _require_nchw(problem: Problem, library: str) -> None:
    if problem.layout != "nchw":
        raise Refused(f"{library} has no NHWC activations on CPUs")


def _onnx_model(problem: Problem, data: Data) -> bytes:
    """One Conv node; NHWC activations pass through Transpose nodes, as ONNX's Conv is NCHW."""
    from onnx import TensorProto, helper, numpy_helper

    def activations(name: str, shape: tuple[int, ...]):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nhwc = problem.layout == "nhwc"
    conv = helper.make_node(
        "Conv",
        ["x_nchw" if nhwc else "x", "weights", "bias"],
        ["y_nchw" if nhwc else "y"],
        kernel_shape=problem.kernel,
        strides=problem.stride,
        pads=problem.padding,
        dilations=problem.dilation,
        group=problem.groups,
    )
    nodes = [conv]
    if nhwc:
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["x_nchw"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["y_nchw"], ["y"], perm=[0, 2, 3, 1]))
    constants = [
        numpy_helper.from_array(data.weights, "weights"),
        numpy_helper.from_array(data.bias, "bias"),
    ]
    inputs, outputs = [activations("x", problem.x_shape)], [activations("y", problem.y_shape)]
    graph = helper.make_graph(nodes, "conv", inputs, outputs, constants)
    # Old enough for every library here; Conv has not changed since operator set 11.
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def onnxruntime(problem: Problem, data: Data, threads: int) -> Prepared:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        _onnx_model(problem, data), options, providers=["CPUExecutionProvider"]
    )
    y = empty_output(problem)
    # Bound buffers: nothing is allocated or copied in an execution.
    binding = session.io_binding()
    for bind, name, array in (
        (binding.bind_input, "x", data.x),
        (binding.bind_output, "y", y),
    ):
        bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    detail = "Transpose, Conv, Transpose" if problem.layout == "nhwc" else "Conv"
    return Prepared(lambda: session.run_with_iobinding(binding), lambda: y, detail)


def openvino(problem: Problem, data: Data, threads: int) -> Prepared:
    import openvino as ov
    from openvino import opset13 as ops

    x = ops.parameter([problem.n, problem.c, problem.h, problem.w], np.float32, name="x")
    top, left, bottom, right = problem.padding
    spatial = (list(problem.stride), [top, left], [bottom, right], list(problem.dilation))
    if problem.groups == 1:
        conv = ops.convolution(x, ops.constant(data.weights), *spatial)
    else:
        shape = (problem.groups, problem.k // problem.groups, *problem.weight_shape[1:])
        conv = ops.group_convolution(x, ops.constant(data.weights.reshape(shape)), *spatial)
    bias = ops.constant(data.bias.reshape(1, problem.k, 1, 1))
    model = ov.Model([ops.add(conv, bias)], [x])
    if problem.layout == "nhwc":
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.output().tensor().set_layout(ov.Layout("NHWC"))
        steps.output().model().set_layout(ov.Layout("NCHW"))
        model = steps.build()
    compiled = ov.Core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    y = empty_output(problem)
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(data.x, shared_memory=True))
    request.set_output_tensor(ov.Tensor(y, shared_memory=True))
    kernel = _openvino_kernel(compiled)
    return Prepared(lambda: request.infer(share_outputs=True), lambda: y, kernel)


def _openvino_kernel(compiled) -> str:
    """The implementation that the plugin chose, by its own account."""
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if "Convolution" in str(info["layerType"].astype(str)):
            return str(info["primitiveType"].astype(str))
    return ""


def opencv(problem: Problem, data: Data, threads: int) -> Prepared:
    import cv2

    _require_nchw(problem, "OpenCV's DNN module")
    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(_onnx_model(problem, data), np.uint8))
    outputs = [empty_output(problem)]

    def run() -> None:
        net.setInput(data.x)
        outputs[0] = net.forward()

    return Prepared(run, lambda: outputs[0], "ONNX import")


def ncnn(problem: Problem, data: Data, threads: int) -> Prepared:
    import ncnn as library

    _require_nchw(problem, "ncnn")
    top, left, bottom, right = problem.padding
    numbers = {
        0: problem.k,
        1: problem.kernel[1],
        11: problem.kernel[0],
        2: problem.dilation[1],
        12: problem.dilation[0],
        3: problem.stride[1],
        13: problem.stride[0],
        4: left,
        14: top,
        15: right,
        16: bottom,
        5: 1,
        6: data.weights.size,
    }
    kind = "Convolution"
    if problem.groups > 1:
        kind = "ConvolutionDepthWise"
        numbers[7] = problem.groups
    fields = " ".join(f"{key}={value}" for key, value in numbers.items())
    param = f"7767517\n2 2\nInput x 0 1 x\n{kind} conv 1 1 x y {fields}\n"
    net = library.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        if hasattr(net.opt, f"use_{name}"):
            setattr(net.opt, f"use_{name}", False)
    # The leading word says that the weights are float32.
    weights = struct.pack("<I", 0) + data.weights.tobytes() + data.bias.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "conv.param").write_text(param)
        Path(folder, "conv.bin").write_bytes(weights)
        if net.load_param(f"{folder}/conv.param") or net.load_model(f"{folder}/conv.bin"):
            raise Refused("ncnn does not load the model")
    # A blob holds one image, and clone() gives it planes that are aligned as ncnn likes them.
    images = [library.Mat(image).clone() for image in data.x]
    outputs = [None] * problem.n

    def run() -> None:
        for i, image in enumerate(images):
            extractor = net.create_extractor()
            extractor.input("x", image)
            _, outputs[i] = extractor.extract("y")

    def output() -> np.ndarray:
        return np.stack([np.array(y) for y in outputs])

    return Prepared(run, output, kind if problem.n == 1 else f"{kind}, image by image")


def litert(problem: Problem, data: Data, threads: int) -> Prepared:
    from ai_edge_litert import interpreter as litert_interpreter
    from tflite_writer import tflite_model

    interpreter = litert_interpreter.Interpreter(
        model_content=tflite_model(problem, data), num_threads=threads
    )
    interpreter.allocate_tensors()
    interpreter.tensor(interpreter.get_input_details()[0]["index"])()[...] = data.x
    y = interpreter.tensor(interpreter.get_output_details()[0]["index"])
    detail = "XNNPACK" if problem.layout == "nhwc" else "XNNPACK, between two transposes"
    return Prepared(interpreter.invoke, lambda: np.array(y()), detail)


LIBRARIES = {
    library.name: library
    for library in (
        Library("onnxruntime", "onnxruntime", onnxruntime),
        Library("openvino", "openvino", openvino),
        Library("litert", "ai-edge-litert", litert),
        Library("ncnn", "ncnn", ncnn),
        Library("opencv", "opencv-python-headless", opencv),
    )
}
