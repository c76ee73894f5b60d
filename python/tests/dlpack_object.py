# SPDX-License-Identifier: Apache-2.0
"""A producer of DLPack made by hand: any type and device over memory of NumPy's."""
import ctypes


class Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", Device), ("ndim", ctypes.c_int32),
                ("dtype", Type), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


_new = ctypes.pythonapi.PyCapsule_New
_new.restype = ctypes.py_object
_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
FLOAT, BFLOAT = 2, 4
CPU, CUDA, METAL = 1, 2, 8


class Foreign:
    """Without strides, as DLPack allows for what is dense; `byte_offset` moves the start."""

    def __init__(self, array, code=FLOAT, device=CPU, ordinal=0, byte_offset=0, shape=None):
        self.array, self.place = array, (device, ordinal)
        shape = array.shape if shape is None else shape
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.managed = Managed(Tensor(array.ctypes.data, Device(device, ordinal), len(shape),
                                      Type(code, 8 * array.itemsize, 1), self.shape, None,
                                      byte_offset), None, None)

    def __dlpack__(self, **_):
        return _new(ctypes.addressof(self.managed), b"dltensor", None)

    def __dlpack_device__(self):
        return self.place
