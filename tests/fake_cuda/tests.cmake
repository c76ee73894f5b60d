# SPDX-License-Identifier: Apache-2.0
# Libraries that stand in for NVIDIA's, under the names that they are opened by.
set(fake_cuda ${CMAKE_CURRENT_BINARY_DIR}/fake_cuda)
function(fake_nvidia_library target name suffix source)
  add_library(${target} MODULE fake_cuda/${source})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
                             ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${target} PRIVATE METALCONV_FAKE_CUDA="${fake_cuda}")
  # Without a soname, so that cuDNN does not take it for the driver.
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} SUFFIX ${suffix} NO_SONAME ON
    LIBRARY_OUTPUT_DIRECTORY ${fake_cuda})
endfunction()
fake_nvidia_library(fake_cuda_driver cuda .so.1 driver.cpp)
fake_nvidia_library(fake_cuda_compiler nvrtc .so.13 compiler.cpp)
fake_nvidia_library(fake_cudnn cudnn .so.9 cudnn.cpp)

metalconv_test(cuda_test
  DEFINITIONS METALCONV_FAKE_CUDA="${fake_cuda}")
add_dependencies(cuda_test fake_cuda_driver fake_cuda_compiler fake_cudnn)
