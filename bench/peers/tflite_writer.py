# SPDX-License-Identifier: Apache-2.0
"""One convolution as a TensorFlow Lite model, without the format's usual, very large writers."""

from ai_edge_litert import schema_py_generated as schema
import flatbuffers
import numpy as np

from problems import Data, Problem

OPERATORS, OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions


def tflite_model(problem: Problem, data: Data) -> bytes:
    """PAD where the format's own padding cannot say it, then CONV_2D or DEPTHWISE_CONV_2D. NCHW
    activations pass through TRANSPOSE, as the format is NHWC."""
    model = _empty_model()
    x = value = _tensor(model, problem.x_shape)
    nchw = problem.layout == "nchw"
    height, width = problem.h, problem.w
    if nchw:
        shape = (problem.n, height, width, problem.c)
        value = _transpose(model, value, [0, 2, 3, 1], shape)
    same = _is_same(problem)
    if any(problem.padding) and not same:
        top, left, bottom, right = problem.padding
        shape = (problem.n, height + top + bottom, width + left + right, problem.c)
        pads = _constant(model, np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        options = schema.PadOptionsT()
        value = _add(model, OPERATORS.PAD, [value, pads], shape, OPTIONS.PadOptions, options)
    value = _convolution(model, problem, data, value, same)
    if nchw:
        value = _transpose(model, value, [0, 3, 1, 2], problem.y_shape)
    model.subgraphs[0].inputs, model.subgraphs[0].outputs = [x], [value]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _convolution(model, problem: Problem, data: Data, value: int, same: bool) -> int:
    if problem.groups == problem.c and problem.groups > 1:
        code, kind = OPERATORS.DEPTHWISE_CONV_2D, OPTIONS.DepthwiseConv2DOptions
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = problem.k // problem.c
        weights = data.weights.transpose(1, 2, 3, 0)
    else:
        code, kind = OPERATORS.CONV_2D, OPTIONS.Conv2DOptions
        options = schema.Conv2DOptionsT()
        weights = data.weights.transpose(0, 2, 3, 1)
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = problem.stride
    options.dilationHFactor, options.dilationWFactor = problem.dilation
    inputs = [value, _constant(model, weights), _constant(model, data.bias)]
    shape = (problem.n, problem.out_h, problem.out_w, problem.k)
    return _add(model, code, inputs, shape, kind, options)


def _is_same(problem: Problem) -> bool:
    """Whether the format's SAME padding is that of the problem."""
    if problem.stride != (1, 1):
        return False
    down, across = (d * (taps - 1) for d, taps in zip(problem.dilation, problem.kernel))
    return problem.padding == (down // 2, across // 2, down - down // 2, across - across // 2)


def _empty_model():
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]  # the first stands for "no data"
    model.operatorCodes = []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    return model


def _tensor(model, shape: tuple[int, ...], kind: int = schema.TensorType.FLOAT32) -> int:
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = list(shape), kind, 0
    tensors = model.subgraphs[0].tensors
    tensors.append(tensor)
    return len(tensors) - 1


def _constant(model, values: np.ndarray) -> int:
    kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
    index = _tensor(model, values.shape, kind)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    model.subgraphs[0].tensors[index].buffer = len(model.buffers) - 1
    return index


def _add(model, code: int, inputs: list[int], shape: tuple[int, ...], kind: int, options) -> int:
    """Appends an operator; returns the index of its output."""
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
    operator_code.version = 1
    model.operatorCodes.append(operator_code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = inputs, [_tensor(model, shape)]
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    model.subgraphs[0].operators.append(operator)
    return operator.outputs[0]


def _transpose(model, value: int, order: list[int], shape: tuple[int, ...]) -> int:
    inputs = [value, _constant(model, np.array(order, np.int32))]
    options = schema.TransposeOptionsT()
    return _add(model, OPERATORS.TRANSPOSE, inputs, shape, OPTIONS.TransposeOptions, options)
