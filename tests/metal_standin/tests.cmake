# SPDX-License-Identifier: Apache-2.0
# Tests of src/metal. On a Mac they run on its GPU. Elsewhere the same host code is compiled with
# Apple's own metal-cpp headers and runs on the stand-in of this folder; headers that use blocks
# need clang, so that these objects alone are clang's, in programs that are otherwise g++'s.

if(APPLE)
  if(EXISTS ${METALCONV_METAL_CPP_DIR}/Metal/Metal.hpp)
    metalconv_test(metal_device_test LIBRARIES metalconv_bench)
    metalconv_test(metal_runtime_test)
  endif()
  return()
endif()

# metal_skip(REASON TEST...): tests that the summary counts as skipped.
function(metal_skip reason)
  message(STATUS "tests of the Metal host code are skipped: ${reason}")
  foreach(test IN LISTS ARGN)
    add_test(NAME ${test} COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${reason}")
    set_tests_properties(${test} PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped: ")
  endforeach()
endfunction()

find_program(METALCONV_CLANG NAMES clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15
             clang++-14 DOC "clang++ for Apple's headers")
if(NOT METALCONV_CLANG)
  metal_skip("clang++ is not installed" metal_device_test metal_runtime_test metal_standin_test
             metal_vendor_test metal_selectors_test)
  return()
endif()

set(METAL_FLAGS -std=c++20 -fPIC -g -O1 -Wall -Wextra -Wshadow -Werror
    -I${PROJECT_SOURCE_DIR}/src -I${PROJECT_SOURCE_DIR}/include)

# Apple's Objective-C interface, which clang also has for ELF objects.
set(METAL_VENDOR_FLAGS ${METAL_FLAGS} -isystem ${CMAKE_CURRENT_SOURCE_DIR}/metal_standin/mm
    -fobjc-arc -fobjc-runtime=macosx-15.0 -fobjc-exceptions)
list(JOIN METAL_VENDOR_FLAGS " " flags)
metalconv_test(metal_selectors_test DEFINITIONS METALCONV_CLANG="${METALCONV_CLANG}"
               METALCONV_VENDOR_FLAGS="${flags}" METALCONV_SOURCE_DIR="${PROJECT_SOURCE_DIR}")

# metal_object(VARIABLE SOURCE FLAG...): SOURCE of src/metal compiled by clang; VARIABLE is the object.
function(metal_object variable source)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/metal_standin/${source}.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${METALCONV_CLANG} ${ARGN} -MMD -MF ${object}.d
            -c ${PROJECT_SOURCE_DIR}/src/metal/${source} -o ${object}
    DEPENDS ${PROJECT_SOURCE_DIR}/src/metal/${source}
    DEPFILE ${object}.d
    COMMENT "Building CXX object ${source}.o with clang"
    VERBATIM)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${variable} ${object} PARENT_SCOPE)
endfunction()

file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/metal_standin)

find_package(Boost 1.74 CONFIG QUIET COMPONENTS context)  # as src/emulator
set(reason "")
if(NOT EXISTS ${METALCONV_METAL_CPP_DIR}/Metal/Metal.hpp)
  set(reason "metal-cpp's headers are not in ${METALCONV_METAL_CPP_DIR}: scripts/fetch-metal-cpp.sh")
elseif(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(reason "the stand-in's objc_msgSend is written for x86-64")
elseif(NOT TARGET Boost::context)
  set(reason "there is no emulator in this build")
endif()
if(reason)
  metal_skip("${reason}" metal_device_test metal_runtime_test metal_standin_test metal_vendor_test)
else()
  set(sdk ${CMAKE_CURRENT_SOURCE_DIR}/metal_standin/sdk)
  foreach(source metal_cpp queue runtime)
    metal_object(object ${source}.cpp ${METAL_FLAGS} -fblocks -isystem ${METALCONV_METAL_CPP_DIR}
                 -isystem ${sdk})
    list(APPEND metal_objects ${object})
  endforeach()
  metal_object(object vendor.mm ${METAL_VENDOR_FLAGS})
  list(APPEND metal_objects ${object})
  add_library(metal_standin STATIC
    metal_standin/foundation.cpp
    metal_standin/graph.cpp
    metal_standin/iokit.cpp
    metal_standin/metal.cpp
    metal_standin/msg_send.cpp
    metal_standin/objc.cpp
    metal_standin/objc_abi.cpp
    ${PROJECT_SOURCE_DIR}/src/metal/device.cpp
    ${PROJECT_SOURCE_DIR}/src/metal/gpu_cores.cpp
    ${PROJECT_SOURCE_DIR}/src/metal/vendor_pack.cpp
    ${metal_objects})
  include(Embed)
  metalconv_embed(metal_standin metalconv::metal::vendor_kernels
                  ${PROJECT_SOURCE_DIR}/src/metal/vendor_pack.metal)
  target_include_directories(metal_standin PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src
                             ${CMAKE_CURRENT_SOURCE_DIR} ${sdk})
  target_link_libraries(metal_standin PUBLIC metalconv fmt::fmt)
  # Under ThreadSanitizer, too, which sees what g++ compiled: kernels, the stand-in, the tests.
  set(labels_runtime threads)
  set(labels_vendor threads)
  foreach(test device runtime standin vendor)
    metalconv_test(metal_${test}_test LABELS ${labels_${test}}
                   LIBRARIES metal_standin metalconv_bench
                   SOURCES metal_standin/nothing_left.cpp)
  endforeach()
endif()
